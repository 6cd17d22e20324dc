"""What seeded defects came to, claim by claim: the rows of a kill matrix, what it lacks, and how it is shown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.claims import Verdict
from fixtures.plugin.catalogue import order
from fixtures.standin.defects import WITHOUT_DEFECT, Defect

CLEAN = "none"
"""In place of a defect's name: the same claims without one. Violated then, they would prove nothing."""
_REASON_CHARS = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one claim said of one defect. `commit` and `when` (UTC) tell which code ran: calls add up to a matrix."""

    defect: str
    claim: str
    verdict: str
    reason: str
    seconds: float
    commit: str = ""
    when: str = ""

    @property
    def caught(self) -> bool:
        return self.verdict == Verdict.VIOLATED.value


class Matrix:
    """The rows so far, one for each defect and claim; kept in `file`, if one is given, after each defect."""

    def __init__(self, file: Path | None = None) -> None:
        """Raises ValueError for a file that is no such matrix."""
        self._file = file
        self._rows: dict[tuple[str, str], Row] = {}
        if file is not None and file.exists():
            try:
                rows = [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file}: no kill matrix of an earlier call ({error}); name another file") from error
            self._rows = {(row.defect, row.claim): row for row in rows}

    def add(self, rows: Iterable[Row]) -> None:
        self._rows.update({(row.defect, row.claim): row for row in rows})
        if self._file is not None:
            fresh = self._file.with_suffix(".tmp")
            listed = [dataclasses.asdict(row) for row in self.rows()]
            fresh.write_text(json.dumps({"rows": listed}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            fresh.replace(self._file)

    def has(self, defect: str, claims: Iterable[str]) -> bool:
        return all((defect, claim) in self._rows for claim in claims)

    def of(self, defect: str, claim: str) -> Row | None:
        return self._rows.get((defect, claim))

    def rows(self) -> list[Row]:
        return list(self._rows.values())


def missing(matrix: Matrix, defects: Sequence[Defect], claims: Collection[str], *, whole: bool) -> list[str]:
    """What keeps the matrix from being full, a line each: defects that passed and, if it is `whole`, vacuous claims."""
    found = []
    for defect in defects:
        for claim in defect.claims:
            row = matrix.of(defect.name, claim)
            if row is None:
                found.append(f"{defect.name}: {claim} has not judged it")
            elif not row.caught:
                found.append(f"{defect.name}: {claim} did not notice it: {row.verdict}, {row.reason}")
    for row in matrix.rows():
        if row.defect == CLEAN and row.caught:
            found.append(f"{row.claim} is violated without any defect: {row.reason}")
    if whole:
        caught = {row.claim for row in matrix.rows() if row.caught and row.defect != CLEAN}
        found += [
            f"{claim}: catches no defect" for claim in sorted(set(claims) - caught - set(WITHOUT_DEFECT), key=order)
        ]
    return found


def table(matrix: Matrix, defects: Sequence[Defect]) -> Iterator[str]:
    """For a terminal: a line for each defect and each claim that is meant to notice it."""
    width = max((len(defect.name) for defect in defects), default=0)
    for defect in defects:
        for claim in defect.claims:
            row = matrix.of(defect.name, claim)
            said = f"{row.verdict:<9} {row.seconds:6.1f} s  {_short(row.reason)}" if row else "not run"
            yield f"{defect.name:<{width}}  {defect.layer:<8} {claim:<5} {said}"


def markdown(matrix: Matrix, defects: Sequence[Defect]) -> Iterator[str]:
    """For a page: the defects, then how many of them each claim caught."""
    yield "| defect | in | breaks | claim | verdict | s | first finding |"
    yield "|---|---|---|---|---|---|---|"
    for defect in defects:
        for claim in defect.claims:
            row = matrix.of(defect.name, claim)
            said = (row.verdict, f"{row.seconds:.0f}", _short(row.reason)) if row else ("not run", "", "")
            cells = (f"`{defect.name}`", _where(defect), defect.breaks, claim, *said)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    yield "| claim | without a defect | kills |"
    yield "|---|---|---|"
    for claim, names in _by_claim(matrix).items():
        clean = matrix.of(CLEAN, claim)
        yield f"| {claim} | {clean.verdict if clean else 'not run here'} | {len(names)}: {', '.join(names) or 'none'} |"
    for claim, why in WITHOUT_DEFECT.items():
        yield f"| {claim} | - | none: {why} |"


def _by_claim(matrix: Matrix) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in sorted(matrix.rows(), key=lambda row: order(row.claim)):
        names = found.setdefault(row.claim, [])
        if row.caught and row.defect != CLEAN:
            names.append(row.defect)
    return {claim: names for claim, names in found.items() if claim not in WITHOUT_DEFECT}


def _where(defect: Defect) -> str:
    return f"{defect.layer} {'/'.join(defect.roles)}".strip()


def _short(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _REASON_CHARS else text[: _REASON_CHARS - 1] + "…"
