from ipo_dspy.prompts.vocabulary import VOCABULARY


def test_no_word_is_ranked_twice() -> None:
    words = [word for group in VOCABULARY.values() for word in group]
    assert len(words) == len(set(words))


def test_words_can_be_listed_with_commas_between_them() -> None:
    words = [word for group in VOCABULARY.values() for word in group]
    assert all("," not in word and word == word.strip() != "" for word in words)
