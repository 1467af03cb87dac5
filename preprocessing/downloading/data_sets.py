"""The public data sets: where their publishers keep them, what belongs where, what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ZIP = b"PK"
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class RemoteFile:
    """One file at a publisher.

    Attributes:
      name: its file name there.
      addresses: where it lies; later ones are asked when earlier ones do not have it.
      magic: its first bytes, by which an error page is told from it.
      md5: the publisher's MD5 of a file that never changes; None if there is none.
      md5_beside: True when the publisher keeps the MD5 at the same address plus ".md5".
      members: zip archives: file in the archive -> name in our folder.
      optional_members: the same, for files that may be missing.
    """

    name: str
    addresses: tuple[str, ...]
    magic: bytes
    md5: str | None = None
    md5_beside: bool = False
    members: Mapping[str, str] = field(default_factory=dict)
    optional_members: Mapping[str, str] = field(default_factory=dict)

    def at_mirror(self, address: str) -> RemoteFile:
        """The same file in another folder of the network."""
        return replace(self, addresses=(f"{address.rstrip('/')}/{self.name}",))


@dataclass(frozen=True)
class DataSet:
    """One public data set.

    Attributes:
      name: short name, also of its folder and configuration.
      title: what it is.
      homepage: the publisher's page about it.
      licence: what its publisher allows.
      remote: the files to fetch.
      tables: configuration key -> name of the file that the configuration reads there.
      configuration: name of the configuration, which reads the folder data/NAME.
      overrides: what else the configuration needs.
    """

    name: str
    title: str
    homepage: str
    licence: str
    remote: tuple[RemoteFile, ...]
    tables: Mapping[str, str]
    configuration: str
    overrides: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the folder must hold in the end."""
        names: list[str] = []
        for remote in self.remote:
            names += remote.members.values() or [remote.name]
        return tuple(names)


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_AMAZON = (
    "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2",
    "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_v2",
)
_GOODBOOKS = "https://github.com/zygmuntz/goodbooks-10k/releases/download/v1.0"
_MOVIELENS_LICENCE = (
    "research use with acknowledgement (Harper and Konstan 2015, doi 10.1145/2827872); no "
    "commercial use without permission; see the README that comes with it"
)


def _movielens(
    name: str,
    title: str,
    archive: str,
    files: tuple[str, ...],
    readme: str,
    tables: Mapping[str, str],
    configuration: str,
    overrides: tuple[str, ...] = (),
    md5: str | None = None,
) -> DataSet:
    return DataSet(
        name=name,
        title=title,
        homepage="https://grouplens.org/datasets/movielens/",
        licence=_MOVIELENS_LICENCE,
        remote=(
            RemoteFile(
                f"{archive}.zip",
                (f"{_GROUPLENS}/{archive}.zip",),
                ZIP,
                md5=md5,
                md5_beside=True,
                members={f"{archive}/{file}": file for file in files},
                optional_members={f"{archive}/{readme}": readme},
            ),
        ),
        tables=tables,
        configuration=configuration,
        overrides=overrides,
    )


def _tables(interactions: str, catalogue: str, profiles: str | None = None) -> dict[str, str]:
    files = {"interactions": interactions, "catalogue": catalogue, "profiles": profiles}
    return {f"data.{table}.path": file for table, file in files.items() if file is not None}


def _amazon_file(folder: str, name: str) -> RemoteFile:
    return RemoteFile(name, tuple(f"{base}/{folder}/{name}" for base in _AMAZON), GZIP)


_LATEST_FILES = ("ratings.csv", "movies.csv", "links.csv", "tags.csv")
_ALL = (
    _movielens(
        "movielens_small",
        "MovieLens latest small: about 100,000 ratings of 600 users; changes from time to time",
        "ml-latest-small",
        _LATEST_FILES,
        "README.txt",
        _tables("ratings.csv", "movies.csv"),
        "movielens_latest",
        ("work_dir=out/movielens_latest_small",),
    ),
    _movielens(
        "movielens_100k",
        "MovieLens 100K: 100,000 ratings of 943 users, with profiles",
        "ml-100k",
        ("u.data", "u.item", "u.user", "u.genre", "u.occupation"),
        "README",
        _tables("u.data", "u.item", "u.user"),
        "movielens_100k",
        md5="0e33842e24a9c977be4e0107933c0723",
    ),
    _movielens(
        "movielens_1m",
        "MovieLens 1M: 1,000,209 ratings of 6,040 users, with profiles",
        "ml-1m",
        ("ratings.dat", "movies.dat", "users.dat"),
        "README",
        _tables("ratings.dat", "movies.dat", "users.dat"),
        "movielens_1m",
        md5="c4d9eecfca2ab87c1945afe126590906",
    ),
    _movielens(
        "movielens_latest",
        "MovieLens latest: about 33 million ratings of 331,000 users; changes from time to time",
        "ml-latest",
        _LATEST_FILES,
        "README.txt",
        _tables("ratings.csv", "movies.csv"),
        "movielens_latest",
    ),
    DataSet(
        name="amazon_books",
        title="Amazon Books 2018: 27 million reviews (5-core) and the catalogue; gigabytes",
        homepage="https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/",
        licence="the publisher states none and asks to cite Ni, Li and McAuley, EMNLP 2019",
        remote=(
            _amazon_file("categoryFilesSmall", "Books_5.json.gz"),
            _amazon_file("metaFiles2", "meta_Books.json.gz"),
        ),
        tables=_tables("Books_5.json.gz", "meta_Books.json.gz"),
        configuration="amazon_books",
    ),
    DataSet(
        name="goodbooks_10k",
        title="goodbooks-10k: six million ratings of ten thousand books, without times",
        homepage="https://github.com/zygmuntz/goodbooks-10k",
        licence="CC BY-SA 4.0",
        remote=(
            RemoteFile(
                "goodbooks-10k.zip",
                (f"{_GOODBOOKS}/goodbooks-10k.zip",),
                ZIP,
                members={"ratings.csv": "ratings.csv", "books.csv": "books.csv"},
                optional_members={"tags.csv": "tags.csv", "book_tags.csv": "book_tags.csv"},
            ),
        ),
        tables=_tables("ratings.csv", "books.csv"),
        configuration="goodbooks_10k",
    ),
)

DATA_SETS: Mapping[str, DataSet] = {data_set.name: data_set for data_set in _ALL}
"""The data sets by name."""

_DATA = Path("data")
_CONFIGS = Path(__file__).parents[2] / "configs"


def default_folder(data_set: DataSet) -> Path:
    """Where a data set goes unless another folder is named."""
    return _DATA / data_set.name


def next_commands(data_set: DataSet, out: Path) -> list[str]:
    """What to run once the files are there: no command needs answers of an LLM.

    Args:
      data_set: which one.
      out: the folder with its files; the configuration is told where it reads another one.
    """
    config = Path("configs", f"{data_set.configuration}.yaml")
    if not config.is_file():
        config = _CONFIGS / config.name
    arguments = ["--config", str(config), *data_set.overrides]
    if out != _DATA / data_set.configuration:
        arguments += [f"{key}={out / file}" for key, file in data_set.tables.items()]
    shown = shlex.join(arguments)
    return [
        f"python -m preprocessing prompts {shown} --source links --dry-run",
        f"python -m preprocessing examples {shown}",
        f"python -m trainer train {shown} model.match=none model.prior=false",
    ]


def described_next(data_set: DataSet, out: Path) -> str:
    """The same in words."""
    prompts, examples, training = next_commands(data_set, out)
    return (
        f"what an LLM would be asked, and what it costs:\n  {prompts}\n"
        f"a model without knowledge, before there are answers:\n  {examples}\n  {training}\n"
        "with answers: `generate`, then `all`, as the head of the configuration says"
    )


def missing_data_advice(path: str) -> str:
    """How to get a file that belongs to a public data set which is not there; else "".

    Args:
      path: a file or pattern that means no file.
    """
    folder, name = (*Path(path).parts, "", "")[:2]
    data_set = DATA_SETS.get(name)
    if data_set is None or Path(folder) != _DATA:
        return ""
    if all((default_folder(data_set) / file).is_file() for file in data_set.files):
        return ""
    return f"; python -m preprocessing download {data_set.name} fetches this data set"


def by_hand(data_set: DataSet, out: Path) -> str:
    """Addresses, file names, target folder and the command that comes next, for people."""
    lines = ["Where this network does not allow it, fetch on another machine:"]
    for remote in data_set.remote:
        lines.append(f"  {remote.addresses[0]}")
        lines += [f"    or {address}" for address in remote.addresses[1:]]
        for member, name in remote.members.items():
            lines.append(f"    {member} in it is {out / name}")
        if not remote.members:
            lines.append(f"    as it comes is {out / remote.name}")
    lines += [
        "Or serve the files in a network of your own and add --mirror http://HOST/FOLDER. "
        f"With the files in {out}:",
        described_next(data_set, out),
    ]
    return "\n".join(lines)
