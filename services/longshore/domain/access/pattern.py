"""Texts of policies with wildcards and variables, and what they match.

`*` stands for any characters, `?` for one, `${aws:username}` for what the call says under that key.
What comes from a call is taken as it is: a star in it is a star.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

#: What a call says, by condition keys in lower case.
Context = Mapping[str, Sequence[str]]

_VARIABLE = re.compile(r"\$\{([^${}]{1,256})\}")
_LITERALS = frozenset("*?$")
ARN_PARTS = 6


class Wild(Enum):
    """What matches more than itself."""

    ANY = "*"
    ONE = "?"


_ANYTHING = (Wild.ANY,)


@dataclass(frozen=True, slots=True)
class Variable:
    """Stands for what a call says under a key, in lower case."""

    key: str


#: One character, or what stands for others.
Token = str | Wild | Variable


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text of a policy, taken apart."""

    text: str
    tokens: tuple[Token, ...]

    @classmethod
    def of(cls, text: str, *, has_variables: bool = True, has_wildcards: bool = True) -> "Pattern":
        """Takes a text apart."""
        tokens: list[Token] = []
        at = 0
        while at < len(text):
            found = _VARIABLE.match(text, at) if has_variables else None
            if found is not None:
                name = found[1]
                tokens.append(name if name in _LITERALS else Variable(name.strip().lower()))
                at = found.end()
                continue
            letter = text[at]
            is_wild = has_wildcards and letter in ("*", "?")
            tokens.append(Wild(letter) if is_wild else letter)
            at += 1
        return cls(text, tuple(tokens))

    @property
    def variables(self) -> list[str]:
        """Keys of the variables in it."""
        return [token.key for token in self.tokens if isinstance(token, Variable)]

    def filled(self, context: Context) -> tuple[str | Wild, ...] | None:
        """With variables as a call says them; None if it does not say one, or says several."""
        if not any(isinstance(token, Variable) for token in self.tokens):
            return self.tokens  # type: ignore[return-value]  # there are none, as was seen
        filled: list[str | Wild] = []
        for token in self.tokens:
            if isinstance(token, Variable):
                values = context.get(token.key, ())
                if len(values) != 1:
                    return None
                filled.extend(values[0])
            else:
                filled.append(token)
        return tuple(filled)

    def matches(self, text: str, context: Context) -> bool:
        """Whether a text is one of those that it stands for."""
        if self.tokens == _ANYTHING:
            return True
        tokens = self.filled(context)
        return tokens is not None and glob(tokens, text)

    def matches_arn(self, arn: str, context: Context) -> bool:
        """Whether an ARN is one of those that it stands for.

        Parts between colons match each for itself, but for a star at the end. An installation has
        one account and one region, which callers name as they like: those parts are not compared.
        """
        if self.tokens == _ANYTHING:
            return True
        tokens = self.filled(context)
        if tokens is None:
            return False
        parts, texts = _split(tokens), arn.split(":", ARN_PARTS - 1)
        if len(parts) < ARN_PARTS:
            return tokens[-1:] == (Wild.ANY,) and glob(tokens, arn)
        if len(texts) < ARN_PARTS:
            return False
        return all(glob(parts[place], texts[place]) for place in (0, 1, 2, 5))


def _split(tokens: Sequence[str | Wild]) -> list[tuple[str | Wild, ...]]:
    parts: list[tuple[str | Wild, ...]] = []
    begin = 0
    for place, letter in enumerate(tokens):
        if letter == ":" and len(parts) < ARN_PARTS - 1:
            parts.append(tuple(tokens[begin:place]))
            begin = place + 1
    parts.append(tuple(tokens[begin:]))
    return parts


def glob(tokens: Sequence[str | Wild], text: str) -> bool:
    """Whether tokens match the whole of a text, in time of at most the product of their lengths."""
    at = token = 0
    star = -1
    resume = 0
    while at < len(text):
        if token < len(tokens) and tokens[token] is Wild.ANY:
            star, resume = token, at
            token += 1
        elif token < len(tokens) and (tokens[token] is Wild.ONE or tokens[token] == text[at]):
            token += 1
            at += 1
        elif star >= 0:
            token = star + 1
            resume += 1
            at = resume
        else:
            return False
    return all(rest is Wild.ANY for rest in tokens[token:])
