"""How a call ended, from each vendor's own fields."""

import pytest

from aligntax.logs import classify
from aligntax.outcomes import ENDED_BY_ITSELF, OUTCOMES, is_filter_marker
from aligntax.types import Outcome

TEXT = "Here is the summary you asked for."


@pytest.mark.parametrize(
    ("raw", "text", "expected"),
    [
        ("stop", TEXT, "answered"),  # OpenAI, Mistral, vLLM
        ("STOP", TEXT, "answered"),  # Gemini
        ("end_turn", TEXT, "answered"),  # Anthropic, Bedrock
        ("stop_sequence", TEXT, "answered"),
        ("pause_turn", TEXT, "answered"),
        ("pause_turn", "", "empty"),
        ("COMPLETE", TEXT, "answered"),  # Cohere
        ("completed", TEXT, "answered"),  # OpenAI Responses
        (None, TEXT, "answered"),
        ("stop", "", "empty"),
        ("stop", " \n ", "empty"),
        (None, "", "empty"),
        ("length", TEXT, "truncated"),
        ("length", "", "truncated"),
        ("max_tokens", TEXT, "truncated"),
        ("MAX_TOKENS", TEXT, "truncated"),  # Gemini, Cohere
        ("FINISH_REASON_MAX_TOKENS", TEXT, "truncated"),
        ("max_output_tokens", TEXT, "truncated"),
        ("model_length", TEXT, "truncated"),  # Mistral
        ("model_context_window_exceeded", TEXT, "truncated"),
        ("refusal", "", "provider_refused"),
        ("refusal", TEXT, "provider_refused"),
        ("content_filter", "", "output_blocked"),
        ("content_filter", TEXT, "output_blocked"),
        ("content-filter", "", "output_blocked"),
        ("SAFETY", "", "output_blocked"),
        ("RECITATION", TEXT, "output_blocked"),
        ("BLOCKLIST", "", "output_blocked"),
        ("PROHIBITED_CONTENT", "", "output_blocked"),
        ("SPII", "", "output_blocked"),
        ("guardrail_intervened", "The policy text of the guardrail.", "output_blocked"),
        ("content_filtered", "", "output_blocked"),
        ("ERROR_TOXIC", "", "output_blocked"),
        ("tool_calls", "", "tool_call"),
        ("tool_calls", TEXT, "tool_call"),
        ("tool_use", "", "tool_call"),
        ("function_call", "", "tool_call"),
        ("abort", TEXT, "error"),  # vLLM
        ("USER_CANCEL", TEXT, "error"),
        ("ERROR", "", "error"),
    ],
)
def test_finish_values_of_every_vendor_are_known(raw, text, expected):
    ending = classify(raw, text)
    assert ending.outcome == expected
    assert ending.raw == raw


def test_an_unknown_value_leaves_the_content_to_decide_and_is_kept():
    assert classify("brand_new_reason", TEXT) == (Outcome.ANSWERED, "brand_new_reason", None)
    assert classify("brand_new_reason", "").outcome is Outcome.EMPTY
    assert classify("brand_new_reason", "", tool_calls=1).outcome is Outcome.TOOL_CALL


def test_a_refusal_field_is_the_providers_no_whatever_the_finish_reason_says():
    assert classify("stop", "I can't help with that.", refused=True).outcome is Outcome.PROVIDER_REFUSED
    assert classify(None, "I can't help with that.", refused=True).outcome is Outcome.PROVIDER_REFUSED
    assert classify("content_filter", "I can't", refused=True).outcome is Outcome.OUTPUT_BLOCKED


def test_the_wording_of_an_answer_never_decides():
    assert classify("stop", "I'm sorry, but I can't help with that.").outcome is Outcome.ANSWERED


def test_a_tool_call_beside_text_is_an_answer_unless_the_vendor_says_tool():
    assert classify("stop", TEXT, tool_calls=1).outcome is Outcome.ANSWERED
    assert classify("stop", "", tool_calls=2).outcome is Outcome.TOOL_CALL


@pytest.mark.parametrize(
    "text",
    ["[CONTENT_FILTERED]", "<content filtered>", "[Output blocked]", " [response removed by moderation] "],
)
def test_a_filters_placeholder_is_no_answer(text):
    assert is_filter_marker(text)
    assert classify("stop", text).outcome is Outcome.OUTPUT_BLOCKED


@pytest.mark.parametrize(
    "text",
    [
        "[content filtered] means that a filter acted.",
        "Content filtered water is fine.",
        "[1] Smith 2019",
        "",
    ],
)
def test_text_about_filters_is_no_placeholder(text):
    assert not is_filter_marker(text)


AZURE_400 = {
    "message": "The response was filtered due to the prompt triggering the content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {
            "hate": {"filtered": False, "severity": "safe"},
            "violence": {"filtered": True, "severity": "medium"},
        },
    },
}


def test_azures_400_is_a_blocked_input_with_its_category():
    assert classify(None, "", status=400, error=AZURE_400) == (
        Outcome.INPUT_BLOCKED,
        "content_filter",
        "violence",
    )


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"code": "content_policy_violation", "message": "Your request was rejected"}, "input_blocked"),
        (400, {"code": "invalid_prompt", "message": "Your prompt was flagged as violating our usage policy"}, "input_blocked"),
        (403, {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}, "input_blocked"),
        (400, {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}, "output_blocked"),
        (400, {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"code":"data_inspection_failed"}}'}}, "input_blocked"),
        (200, {"code": 502, "message": "Output data may contain inappropriate content.", "metadata": {"raw": {"code": "data_inspection_failed"}}}, "output_blocked"),
        (400, {"code": None, "type": "invalid_request_error", "message": "invalid model ID"}, "error"),
        (401, None, "error"),
        (429, {"code": "rate_limit_exceeded", "message": "Rate limit reached"}, "error"),
        (500, {"type": "api_error", "message": "Internal server error"}, "error"),
        (503, {"message": "The moderation service is not available"}, "error"),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, "error"),
        (408, None, "error"),
        (None, "Request timed out", "error"),
    ],
)  # fmt: skip
def test_a_policys_no_is_told_from_a_failure(status, error, expected):
    assert classify(None, "", status=status, error=error).outcome == expected


def test_an_error_after_half_a_text_is_an_error_but_a_filter_there_cut_the_output():
    assert classify("error", TEXT, error={"code": 502, "message": "stream broke"}).outcome is Outcome.ERROR
    moderated = {"code": "data_inspection_failed", "message": "inappropriate content"}
    assert classify(None, TEXT, error=moderated).outcome is Outcome.OUTPUT_BLOCKED


def test_the_code_that_says_most_is_kept():
    wrapped = {"code": 400, "metadata": {"raw": '{"error":{"code":"data_inspection_failed","type":"x"}}'}}
    assert classify(None, "", status=400, error=wrapped).raw == "data_inspection_failed"
    assert classify(None, "", status=404).raw == "404"
    assert classify("error", "", error={"type": "api_error"}) == (Outcome.ERROR, "error", "api_error")


def test_geminis_blocked_prompt_never_reached_the_model():
    assert classify(None, "", block_reason="SAFETY") == (Outcome.INPUT_BLOCKED, "SAFETY", "SAFETY")


def test_anthropics_category_is_kept():
    assert classify("refusal", "", detail="bio") == (Outcome.PROVIDER_REFUSED, "refusal", "bio")


def test_the_tables_do_not_contradict_each_other():
    assert not ENDED_BY_ITSELF & OUTCOMES.keys()
    assert all(word == word.lower() for word in OUTCOMES)
