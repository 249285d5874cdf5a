"""Keywords tell what a sentence does: the published table, with its traps."""

from __future__ import annotations

import pytest

from forethought.sentences import Keywords, Stance, asks_to_verify, contradicts, stance_of


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("", "statement"),
        ("The sum is 12.", "statement"),
        ("Yes, that is it.", "affirmation"),
        ("yeah, I am CONFIDENT", "affirmation"),
        ("The final answer is 4", "affirmation"),
        ("Wait, there were two.", "reflection"),
        ("Alternatively, hold on", "reflection"),
        ("Another way is to add.", "reflection"),
        ("Let me verify the sum.", "reflection"),
        ("Think again. To recap", "reflection"),
        # not in the lists, though the paper's prose has them
        ("Hmm, well", "statement"),
        ("Yep", "statement"),
        # parts of other words
        ("It was yesterday", "affirmation"),
        ("She awaits a train", "reflection"),
        ("He checked it", "reflection"),
        ("A double-check", "reflection"),
        # ties reflect, else the majority decides, every occurrence counted
        ("Wait, yes", "reflection"),
        ("Wait, yes, yes", "affirmation"),
        ("Yes, but wait, check it", "reflection"),
        ("yes yes wait wait", "reflection"),
    ],
)
def test_a_sentence_has_the_published_class(text: str, stance: Stance) -> None:
    assert stance_of(text) == stance
    assert stance_of(text.upper()) == stance


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("It was yesterday", "statement"),
        ("She awaits a train", "statement"),
        ("He checked it", "statement"),
        ("A double-check", "reflection"),
        ("Wait, he checked: yes, yesterday: yes", "affirmation"),
        ("(hold on)", "reflection"),
    ],
)
def test_with_word_boundaries_parts_of_words_do_not_count(text: str, stance: Stance) -> None:
    assert stance_of(text, word_boundary=True) == stance


@pytest.mark.parametrize(
    ("text", "plain", "bounded"),
    [
        ("Let me CHECK", True, True),
        ("I should recap.", True, True),
        ("unchecked", True, False),
        ("Wait, yes", False, False),
        ("think  again", False, False),
    ],
)
def test_a_call_for_verification_is_any_of_its_keywords(
    text: str, plain: bool, bounded: bool
) -> None:
    assert asks_to_verify(text) is plain
    assert asks_to_verify(text, word_boundary=True) is bounded


def test_keywords_are_data() -> None:
    german = Keywords(affirmation=("ja",), reflection=("moment",), verification=("prüfe",))
    assert stance_of("Moment!", keywords=german) == "reflection"
    assert stance_of("Wait", keywords=german) == "statement"
    assert asks_to_verify("Ich prüfe das", keywords=german)
    assert stance_of("Ich prüfe das", keywords=german) == "reflection"


def test_sentences_contradict_where_one_reflects_and_the_other_takes_it_back() -> None:
    kinds: tuple[Stance, ...] = ("affirmation", "reflection", "statement")
    found = {(draft, target) for draft in kinds for target in kinds if contradicts(draft, target)}
    assert found == {
        ("reflection", "affirmation"),
        ("reflection", "statement"),
        ("affirmation", "reflection"),
    }
