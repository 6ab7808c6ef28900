r"""Reading TeX's arguments from a text in which macros have been put: a stack of frames, the source
at the bottom, above it what each macro expands to."""

import re

from pipeline.extract.html import ExtractError

WORK, WORK_CHARS = 16, 1 << 20  # characters read for arguments and bodies; the HoTT book takes .84
ARGUMENT_CHARS = 100_000

COMMAND = re.compile(r"\\(?:([A-Za-z@]+)|.)", re.S)
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_BRACKET = re.compile(r"\\[\\{}\[\]]|[{}\[\]]")
_BLANK = re.compile(r"[ \t\n]*")


class Work:
    """What is left to do for one paper: a multiple of its source."""

    def __init__(self, source: str) -> None:
        self.left = WORK * len(source) + WORK_CHARS

    def spend(self, chars: int) -> None:
        self.left -= chars + 8
        if self.left < 0:
            raise ExtractError("macro_bomb", "the macros take more work than the source is worth")


class Frame:
    __slots__ = ("at", "name", "text")

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.at = text, name, 0


class Reader:
    """`frames`: the last is read; what it lacks comes from the one below."""

    def __init__(self, text: str, work: Work) -> None:
        self.frames = [Frame(text, "")]
        self.work = work

    def _next(self) -> tuple[Frame, int]:
        """Where the next argument stands; frames that are read to the end go."""
        while True:
            frame = self.frames[-1]
            blank = _BLANK.match(frame.text, frame.at)
            assert blank
            if blank.end() < len(frame.text) or len(self.frames) == 1:
                return frame, blank.end()
            self.frames.pop()

    def argument(self) -> str | None:
        """A group without its braces, a command or a character; None where there is none."""
        frame, at = self._next()
        frame.at = at
        c = frame.text[frame.at : frame.at + 1]
        if c in ("", "}"):
            return None
        if c != "{":
            match = COMMAND.match(frame.text, frame.at)
            argument = match[0] if match else c
            frame.at += len(argument)
            return argument
        end = self.group_end(frame.text, frame.at)
        if end < 0:
            return None
        argument = frame.text[frame.at + 1 : end - 1]
        frame.at = end
        return argument

    def group_end(self, text: str, at: int) -> int:
        """Behind the group that opens at `at`; -1 where it does not close."""
        depth = 0
        for match in _BRACE.finditer(text, at, at + ARGUMENT_CHARS):
            depth += (match[0] == "{") - (match[0] == "}")
            if depth == 0:
                self.work.spend(match.end() - at)
                return match.end()
        self.work.spend(min(len(text) - at, ARGUMENT_CHARS))
        return -1

    def optional(self) -> str | None:
        """What stands in brackets, if they come next."""
        frame, at = self._next()
        if not frame.text.startswith("[", at):
            return None
        braces = brackets = 0
        for match in _BRACKET.finditer(frame.text, at, at + ARGUMENT_CHARS):
            braces += (match[0] == "{") - (match[0] == "}")
            brackets += (match[0] == "[") - (match[0] == "]") if braces == 0 else 0
            if brackets == 0 and braces == 0:
                self.work.spend(match.end() - at)
                frame.at = match.end()
                return frame.text[at + 1 : match.start()]
        self.work.spend(min(len(frame.text) - at, ARGUMENT_CHARS))
        return None

    def delimited(self, end: str) -> str | None:
        """Up to `end`, outside braces."""
        frame = self.frames[-1]
        depth = 0
        counted = frame.at
        found = frame.at - 1
        while (found := frame.text.find(end, found + 1, frame.at + ARGUMENT_CHARS)) >= 0:
            for match in _BRACE.finditer(frame.text, counted, found):
                depth += (match[0] == "{") - (match[0] == "}")
            counted = found
            if depth <= 0:
                argument = frame.text[frame.at : found]
                self.work.spend(len(argument))
                frame.at = found + len(end)
                group = argument.startswith("{") and self.group_end(argument, 0) == len(argument)
                return argument[1:-1] if group else argument
        self.work.spend(min(len(frame.text) - frame.at, ARGUMENT_CHARS))
        return None
