"""The command `shiftboss schema`."""

import click

from shiftboss.cli.output import print_json
from shiftboss.core.tables import json_schema


@click.command("schema", epilog="shiftboss schema project > project.schema.json")
@click.argument("file", type=click.Choice(["config", "project"]), default="project")
def command(file: str) -> None:
    """Print the JSON schema of config.toml or of a project file, for editors and checkers."""
    print_json(json_schema("config" if file == "config" else "project"))
