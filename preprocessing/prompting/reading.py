"""Input files of prompts, block by block, into scratch tables; rejected lines are returned."""

from __future__ import annotations

from configs.loading import ConfigurationError
from configs.raw_data import Catalogue, Profiles
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.catalogue import ITEM_ID, parse_catalogue
from preprocessing.interactions.first_rows import FILE, LINE, repeated_row
from preprocessing.interactions.profiles import parse_profiles
from preprocessing.interactions.reading import USER
from preprocessing.knowledge.groups import parse_memberships
from preprocessing.prompting.attribute_texts import attribute_texts
from preprocessing.prompting.sanitising import sanitise_text
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.template import Template, TemplateError
from preprocessing.prompting.titles import TitleDisplay
from preprocessing.tables.table_reader import TableReader

_PROFILE_VALUE_CHARACTERS = 60


def read_items(
    catalogue: Catalogue, reader: TableReader, display: TitleDisplay, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts every item of the catalogue with its name for prompts into the scratch tables.

    Returns:
      Dead letters (the first row of an item counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in reader.read():
        table, rejected = parse_catalogue(block, catalogue)
        dead_letters += rejected
        records += block.records
        places = zip(table[FILE].to_pylist(), table[LINE].to_pylist(), strict=True)
        items = table[ITEM_ID].to_pylist()
        for item_id, title, place in zip(items, display.of_table(table), places, strict=True):
            first = scratch.add_item(item_id, title, place)
            if first is not None:
                dead_letters.append(repeated_row("item", place, first, reader.names))
    return dead_letters, records


def read_groups(
    source: str, entity: str, reader: TableReader, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts the members of a source's groups into the scratch tables.

    Returns:
      Dead letters (the first line of an entity counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in reader.read():
        memberships, rejected = parse_memberships(block, entity)
        dead_letters += rejected
        records += block.records
        for member in memberships:
            first = scratch.add_member(source, member.entity_id, member.line, member.group_id)
            if first is not None:
                detail = f"same entity as line {first}"
                dead_letters.append(
                    dead_letter(block.file.name, member.line, "duplicate_entity", detail)
                )
    return dead_letters, records


def profile_sentence(text: str, profiles: Profiles | None) -> Template:
    """The template of `prompts.profile_sentence`, checked against the attributes of profiles.

    The user id is no attribute, so it can never stand in the sentence.

    Raises:
      ConfigurationError: there are no profiles, or a placeholder is no attribute of theirs.
    """
    key = "prompts.profile_sentence"
    if profiles is None:
        raise ConfigurationError(f"{key}: needs data.profiles, the table of users")
    try:
        sentence = Template(text)
        sentence.require(list(profiles.attributes))
    except TemplateError as error:
        raise ConfigurationError(f"{key}: {error} (data.profiles.attributes)") from error
    return sentence


def read_profiles(
    profiles: Profiles, reader: TableReader, sentence: Template, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts the profile sentences of users into the scratch tables.

    A user with a missing value gets no sentence, and so does one whose id stands among the values.

    Returns:
      Dead letters (the first row of a user counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in reader.read():
        table, rejected = parse_profiles(block, profiles)
        dead_letters += rejected
        records += block.records
        texts = {name: attribute_texts(table[name]) for name in sentence.names}
        places = zip(table[FILE].to_pylist(), table[LINE].to_pylist(), strict=True)
        for row, (user, place) in enumerate(zip(table[USER].to_pylist(), places, strict=True)):
            values = {
                name: sanitise_text(column[row], _PROFILE_VALUE_CHARACTERS, quoted=True)
                for name, column in texts.items()
            }
            complete = all(values.values()) and user.strip() not in values.values()
            shown = sentence.fill(values) if complete else ""
            first = scratch.add_profile(user, shown, place)
            if first is not None:
                dead_letters.append(repeated_row("user", place, first, reader.names))
    return dead_letters, records
