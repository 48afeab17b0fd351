"""`aligntax label serve`: the labelling page, on this machine."""

from __future__ import annotations

import click

from ..where import store_option

_FILE = click.Path(dir_okay=False)


@click.command("serve", short_help="Label in the browser.")
@click.argument("draw", required=False, metavar="[DRAW]")
@click.option(
    "--annotator",
    "annotators",
    multiple=True,
    metavar="NAME",
    help="Who labels; each gets a new link. May be repeated.  [default: those who have links, else me]",
)
@click.option(
    "--adjudicator",
    "adjudicators",
    multiple=True,
    metavar="NAME",
    help="Who settles disagreements; gets a link to them. May be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8600,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="How people reach this page through a reverse proxy with TLS, such as https://labels.example.org.",
)
@click.option("--certificate", type=_FILE, metavar="FILE", help="Serve TLS with this certificate (PEM).")
@click.option("--certificate-key", type=_FILE, metavar="FILE", help="The certificate's key (PEM).")
@store_option
def command(  # noqa: PLR0913, PLR0917 - each is one option
    draw: str | None,
    annotators: tuple[str, ...],
    adjudicators: tuple[str, ...],
    host: str,
    port: int,
    public_url: str | None,
    certificate: str | None,
    certificate_key: str | None,
    where: str | None,
) -> None:
    """Serve the labelling page for DRAW (the newest one by default) until Ctrl-C.

    Every label is stored before the next exchange shows. The page shows neither model nor detector.
    """
    from ...ui import serve
    from ..where import open_labels
    from .which import newest

    with open_labels(where) as store:
        chosen = newest(store, draw)
        known = adjudicators or any(person.linked for person in store.annotators(chosen.id))
        serve(
            store,
            chosen.id,
            host=host,
            port=port,
            public_url=public_url,
            certificate=certificate,
            certificate_key=certificate_key,
            annotators=annotators or (() if known else ("me",)),
            adjudicators=adjudicators,
            announce=click.echo,
        )
