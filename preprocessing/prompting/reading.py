"""Input files of prompts, block by block, into scratch tables; rejected lines are returned."""

from __future__ import annotations

import pyarrow.compute as pc

from configs.loading import ConfigurationError
from configs.scenario import Catalogue, Profiles
from preprocessing.csv_blocks import LINE, parse_block, read_blocks, read_header, require_columns
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.catalogue import catalogue_columns, parse_catalogue
from preprocessing.interactions.reading import is_blank
from preprocessing.knowledge.groups import entity_column, parse_memberships
from preprocessing.prompting.sanitising import sanitise_text
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.template import Template, TemplateError
from preprocessing.prompting.titles import TitleDisplay
from preprocessing.records.contract import GROUP_ID

_PROFILE_VALUE_CHARACTERS = 60


def catalogue_header(catalogue: Catalogue) -> list[str]:
    """Columns of the catalogue, checked; see `require_columns`."""
    header = read_header(catalogue.path, "data.catalogue.path")
    require_columns(header, catalogue_columns(catalogue), catalogue.path)
    return header


def read_items(
    catalogue: Catalogue, header: list[str], display: TitleDisplay, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts every item of the catalogue with its name for prompts into the scratch tables.

    Returns:
      Dead letters (the first row of an item counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in read_blocks(catalogue.path):
        table, rejected, read = parse_catalogue(block, header, catalogue)
        dead_letters += rejected
        records += read
        rows = zip(
            table[catalogue.item].to_pylist(),
            display.of_table(table),
            table[LINE].to_pylist(),
            strict=True,
        )
        for item_id, title, line in rows:
            first = scratch.add_item(item_id, title, line)
            if first is not None:
                dead_letters.append(
                    dead_letter(
                        catalogue.path, line, "duplicate_item", f"same item as line {first}"
                    )
                )
    return dead_letters, records


def groups_header(source: str, entity: str, path: str) -> list[str]:
    """Columns of a groups file, checked; see `require_columns`."""
    key = f"knowledge.answers.{source}.groups"
    header = read_header(path, key)
    require_columns(header, {key: GROUP_ID, f"{key} (entity)": entity_column(entity)}, path)
    return header


def read_groups(
    source: str, entity: str, path: str, header: list[str], scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts the members of a source's groups into the scratch tables.

    Returns:
      Dead letters (the first line of an entity counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in read_blocks(path):
        memberships, rejected, read = parse_memberships(block, header, entity)
        dead_letters += rejected
        records += read
        for member in memberships:
            first = scratch.add_member(source, member.entity_id, member.line, member.group_id)
            if first is not None:
                detail = f"same entity as line {first}"
                dead_letters.append(dead_letter(path, member.line, "duplicate_entity", detail))
    return dead_letters, records


def profile_sentence(profiles: Profiles) -> Template:
    """The sentence's template, checked against the file's columns.

    Raises:
      ConfigurationError: a placeholder is not a column, or is the user id.
    """
    header = read_header(profiles.path, "prompts.profiles.path")
    columns = {"prompts.profiles.user": profiles.user}
    try:
        sentence = Template(profiles.sentence)
        # The user id is no column to show: it must never reach a prompt.
        sentence.require([name for name in header if name != profiles.user])
    except TemplateError as error:
        raise ConfigurationError(f"prompts.profiles.sentence: {error}") from error
    require_columns(header, columns, profiles.path)
    return sentence


def read_profiles(
    profiles: Profiles, sentence: Template, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts the profile sentences of users into the scratch tables.

    A user with a missing value gets no sentence, and so does one whose id stands among the values.

    Returns:
      Dead letters (the first line of a user counts), and the number of records read.
    """
    header = read_header(profiles.path, "prompts.profiles.path")
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in read_blocks(profiles.path):
        parsed = parse_block(block, header, [profiles.user, *sentence.names])
        records += parsed.records
        dead_letters += parsed.dead_letters
        blank = is_blank(parsed.table[profiles.user])
        dead_letters += [
            dead_letter(block.path, line, "missing_user_id", f"column '{profiles.user}': empty")
            for line in parsed.table[LINE].filter(blank).to_pylist()
        ]
        for row in parsed.table.filter(pc.invert(blank)).to_pylist():
            values = {
                name: sanitise_text(row[name], _PROFILE_VALUE_CHARACTERS, quoted=True)
                for name in sentence.names
            }
            complete = all(values.values()) and row[profiles.user].strip() not in values.values()
            shown = sentence.fill(values) if complete else ""
            first = scratch.add_profile(row[profiles.user], row[LINE], shown)
            if first is not None:
                detail = f"same user as line {first}"
                dead_letters.append(dead_letter(block.path, row[LINE], "duplicate_user", detail))
    return dead_letters, records
