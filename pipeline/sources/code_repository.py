"""One document a repository: its files in the order of their paths, each after a marker (as in
StarCoder2, Lozhkov et al. 2024, section 5.1; its order within a repository is random)."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.extract.members import Member
from pipeline.schema import Document, Fault
from pipeline.sources.code_file import read_file, repository_of
from pipeline.sources.license_names import all_of
from pipeline.sources.licenses import Licenses

if TYPE_CHECKING:
    from pipeline.sources.code import Code


def merged(
    files: Iterator[Member | Fault], licenses: Licenses, config: "Code"
) -> Iterator[Document | Fault]:
    """The files that are kept, merged by repository; the others one by one. A repository of more
    than max_document_bytes, or whose files do not come together, is several documents."""
    held: list[Document] = []
    size = 0
    times: Counter[str] = Counter()

    def flush() -> Iterator[Document]:
        nonlocal size
        if held:
            repository = held[0].meta.get("repository", "")
            times[repository] += 1
            yield _joined(held, repository, times[repository], config)
        held.clear()
        size = 0

    for item in files:
        if isinstance(item, Fault):
            yield item
            continue
        repository = repository_of(item.name, config.repository_depth)
        if held and held[0].meta.get("repository", "") != repository:
            yield from flush()
        for found in read_file(item, licenses.nearest(item.name), config):
            if isinstance(found, Fault) or found.rule:
                yield found
                continue
            if held and size + len(found.text) > config.max_document_bytes:
                yield from flush()
            held.append(found)
            size += len(found.text)
    yield from flush()


def _joined(files: list[Document], repository: str, part: int, config: "Code") -> Document:
    files = sorted(files, key=lambda file: file.path or "")
    parts = [config.repository_marker.format(repository=repository, path="")]
    languages: Counter[str] = Counter()
    for file in files:
        parts += [config.file_marker.format(repository=repository, path=file.path), file.text]
        languages[file.meta["language"]] += len(file.text)
    most = max(languages.values())
    language = min(name for name, chars in languages.items() if chars == most)
    meta = {"language": language, "n_files": str(len(files))}
    meta |= {"repository": repository} if repository else {}
    locator = f"{repository}/@repository" if repository else "@repository"
    return Document(
        locator if part == 1 else f"{locator}#{part}",
        "".join(parts),
        path=repository or None,
        license=all_of(sorted({file.license for file in files if file.license})),
        meta=meta,
    )
