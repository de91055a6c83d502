"""`llmguard catalog`: the catalog for other systems."""

import sys

import click
from ruamel.yaml import YAML

from llmguard.catalog.backstage import backstage_entities
from llmguard.catalog.exports import catalog_json, cmdb_csv
from llmguard.cli.options import place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.registry_file import current_registry


@click.group()
def command() -> None:
    """Write the catalog for other systems."""


@command.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["backstage", "cmdb", "json"]),
    default="json",
    show_default=True,
    help="backstage: entities for catalog-info.yaml. cmdb: CSV with ServiceNow's columns. json: every field.",
)
@place_options
def export(*, form: str, **places: str | None) -> None:
    """Print the catalog as it is in force."""
    registry = current_registry(settings_from("optional", **places))
    if form == "json":
        print_json(catalog_json(registry))
    elif form == "cmdb":
        click.echo(cmdb_csv(registry), nl=False)
    else:
        yaml = YAML()  # quotes dates, which YAML 1.1 would take for dates
        yaml.indent(mapping=2, sequence=4, offset=2)
        yaml.explicit_start = True
        for entity in backstage_entities(registry):
            yaml.dump(entity, sys.stdout)
