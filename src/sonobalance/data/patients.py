"""Patients in names, ids and paths: pseudonyms for them, and the words that give them away."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

KEY_VARIABLE = "SONOBALANCE_PATIENT_KEY"
PLACEHOLDERS = frozenset((
    "anon", "anonymous", "anonymized", "anonymised", "deidentified", "de", "identified", "none",
    "null", "patient", "removed", "unknown",
))  # fmt: skip
UNSPACED = re.compile(r"[\u2e80-\uffdc]")  # Chinese, Japanese and Korean set no words apart
Words = tuple[str, ...]


def pseudonym(patient: str, secret: bytes) -> str:
    """A keyed hash (BLAKE2b, 64 bits) of what identifies a patient; empty for nobody."""
    if not patient:
        return ""
    known = patient.encode("utf-8", "surrogatepass")
    return "p" + hashlib.blake2b(known, key=secret, digest_size=8).hexdigest()


def secret_of(first: Path) -> bytes:
    """The key of `pseudonym`: from the environment, or a digest of the first DICOM file."""
    given = os.environ.get(KEY_VARIABLE, "").encode()
    source = given or first.read_bytes()
    return hashlib.blake2b(source, digest_size=32, person=b"sonobalance key").digest()


def united(same: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key → one key for all that belong to one patient, from pairs of keys that do."""
    above: dict[str, str] = {}

    def top(key: str) -> str:
        while (higher := above.get(key, key)) != key:
            key = higher
        return key

    for one, other in same:
        above[top(other)] = top(one)
    return {key: top(key) for key in above}


def holds(text: str, identifying: frozenset[Words]) -> bool:
    """Whether a text holds what identifies a patient, however its words are set apart."""
    plain = _plain(text)
    return any(re.search(_pattern(words), plain) for words in identifying)


def _pattern(words: Words) -> str:
    """A regular expression of these words as words; scripts that set none apart need no edges."""
    inner = r"[\W_]*".join(map(re.escape, words))
    if UNSPACED.search(inner):
        return inner
    same = {True: r"[^\W_]", False: r"[^\W\d_]"}  # beside a digit: letters and digits; else letters
    return f"(?<!{same[words[0][0].isdigit()]}){inner}(?!{same[words[-1][-1].isdigit()]})"


def _words(text: str) -> Words:
    return tuple(word for word in re.split(r"[\W_]+", _plain(text)) if word)


def _plain(text: str) -> str:
    """Lower case, and letters with their accents as one character, however they were stored."""
    return unicodedata.normalize("NFKC", text).lower()


def known(text: str) -> str:
    """Empty for what stands there in place of a name or id: ANONYMOUS is no patient."""
    return "" if PLACEHOLDERS.issuperset(_words(text)) else text


def identifying_words(name: str, key: str, birth: str) -> frozenset[Words]:
    """The name, its longer words, the birth date, and the id unless it is a pseudonym.

    It is taken for one where it is the name, too, or where there is none.
    """
    found = {(birth[:4], birth[4:6], birth[6:]) if re.fullmatch(r"\d{8}", birth) else _words(birth)}
    if name and name != key:
        found.add(_words(key))
        for spelt in name.split("="):  # in Latin letters, in ideograms, by sound
            words = _words(spelt)
            found |= {(word,) for word in words if len(word) > 2}
            whole = "".join(words)
            if len(whole) > (1 if UNSPACED.search(whole) else 2):
                found |= {words, words[::-1]}
    return frozenset(words for words in found if not PLACEHOLDERS.issuperset(words))
