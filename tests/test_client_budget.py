"""What may be spent, and what was."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from aligntax.client import Budget, BudgetExhausted, ClientSettings, Price, forecast, open_model, parse_price
from aligntax.client.budget import Need, need
from aligntax.errors import AlignTaxError, InputError
from model_server import Half, ModelServer, asking, chat, failing

PRICE = Price(input_usd=1.0, output_usd=10.0)  # chat() uses 10 + 5 tokens: $0.00006
PRICED = ClientSettings(price=PRICE, max_tokens=100, backoff_s=0, idle_s=0.2)


def spend(plan, calls, *, budget=None, settings=PRICED, together=True):
    """Replies and errors of so many calls, what was spent, and how many calls the server saw."""

    async def run():
        async with (
            ModelServer(plan, delay_s=0.002) as server,
            open_model("openai/m", base_url=server.url, settings=settings, budget=budget) as model,
        ):
            asked = [model.send(asking()) for _ in range(calls)]
            if together:
                got = await asyncio.gather(*asked, return_exceptions=True)
            else:
                got = [(await asyncio.gather(one, return_exceptions=True))[0] for one in asked]
            return got, model.spent, len(server.calls)

    return asyncio.run(run())


def test_what_is_spent_is_what_the_vendor_counted():
    got, spent, _ = spend(lambda call: chat(), 3)
    assert [reply.cost_usd for reply in got] == [pytest.approx(0.00006)] * 3
    assert (spent.calls, spent.prompt_tokens, spent.completion_tokens, spent.tokens) == (3, 30, 15, 45)
    assert spent.usd == pytest.approx(0.00018)


def test_without_a_price_the_cost_is_unknown_and_not_nothing():
    got, spent, _ = spend(lambda call: chat(), 1, settings=ClientSettings())
    assert got[0].cost_usd is None
    assert spent.usd is None


def test_money_without_a_price_does_not_start():
    with pytest.raises(InputError, match="--price"):
        open_model("openai/m", base_url="http://127.0.0.1:1/v1", budget=Budget(usd=1))


def test_an_exhausted_budget_stops_before_the_call_and_is_never_overspent():
    got, spent, seen = spend(lambda call: chat(), 200, budget=Budget(usd=0.0025))
    exhausted = [one for one in got if isinstance(one, BudgetExhausted)]
    assert exhausted
    assert len(exhausted) + spent.calls == 200
    assert seen == spent.calls
    # The next call could cost $0.001 and more: it fits as long as so much is left.
    assert 0.0025 - 0.0011 < spent.usd <= 0.0025
    assert isinstance(exhausted[0], AlignTaxError)
    assert exhausted[0].exit_code == 2
    assert "the budget is exhausted: $0.00" in str(exhausted[0])
    assert "\n" not in str(exhausted[0])


def test_reservations_of_calls_in_flight_hold_others_back_but_do_not_stop_them():
    # Room for one worst case at a time, and for all real costs.
    one = need(asking(), PRICED).usd
    got, spent, _ = spend(lambda call: chat(), 20, budget=Budget(usd=one + 20 * 0.00006))
    assert not [failed for failed in got if isinstance(failed, Exception)]
    assert spent.calls == 20


def test_tokens_may_be_limited_without_a_price():
    settings = ClientSettings(max_tokens=100)
    got, spent, _ = spend(lambda call: chat(), 50, budget=Budget(tokens=300), settings=settings)
    assert spent.tokens <= 300
    assert "tokens used" in str(next(one for one in got if isinstance(one, BudgetExhausted)))


def test_a_call_that_failed_costs_nothing_and_one_that_was_lost_counts_in_full():
    plans = {True: failing(500), False: Half(chat().body)}
    for failed, broken in plans.items():
        budget = Budget(usd=1.0)
        got, spent, _ = spend(lambda call, b=broken: b if call.number == 0 else chat(), 1, budget=budget)
        assert got[0].attempts == 2
        assert spent.usd == pytest.approx(0.00006)
        assert spent.lost_calls == (0 if failed else 1)
        assert (spent.lost_usd > 0.001) is not failed


def test_one_budget_serves_several_models():
    async def run():
        budget = Budget(tokens=260)
        settings = ClientSettings(max_tokens=100)
        async with ModelServer(lambda call: chat()) as server:
            first = open_model("openai/a", base_url=server.url, settings=settings, budget=budget)
            second = open_model("openai/b", base_url=server.url, settings=settings, budget=budget)
            async with first, second:
                with contextlib.suppress(BudgetExhausted):
                    for calls in range(100):
                        await (first, second)[calls % 2].send(asking())
                return first.spent.tokens + second.spent.tokens, calls

    tokens, calls = asyncio.run(run())
    assert tokens == 15 * calls <= 260
    assert 8 <= calls < 99


def test_a_forecast_counts_calls_tokens_and_cost_rather_too_high():
    text = "The patient has chest pain. " * 10
    found = forecast([asking(text, max_tokens=50)] * 4, settings=PRICED, repeats=3)
    assert found.calls == 12
    assert found.completion_tokens == 600
    assert len(text) / 4 * 12 <= found.prompt_tokens <= len(text) / 2 * 12
    assert found.usd == pytest.approx(PRICE.cost(found.prompt_tokens, 600))
    assert forecast([asking()]).usd is None


def test_prices_are_read_and_nonsense_is_not():
    assert parse_price("2.50/10") == Price(input_usd=2.5, output_usd=10)
    for nonsense in ("2.50", "a/b", "1/2/3", "-1/2", "nan/1", ""):
        with pytest.raises(InputError):
            parse_price(nonsense)


def test_fractions_of_cents_hold_nobody_back_for_ever():
    async def run():
        one = Need(1, 1, 0.1)
        budget = Budget(usd=0.3)
        for _ in range(3):
            await asyncio.gather(*(budget.reserve(one) for _ in range(3)))
            for _ in range(3):
                budget.settle(one, usd=0.0, tokens=0)
        await asyncio.wait_for(budget.reserve(Need(1, 1, 0.3)), 1)

    asyncio.run(run())
