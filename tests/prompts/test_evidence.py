from ipo_dspy.prompts.evidence import Evidence


def described(*descriptions: str) -> Evidence:
    return Evidence.of(descriptions, [])


def test_words_that_descriptions_name_weigh_more() -> None:
    evidence = described("chalk, blackboard", "chalk, photo")
    assert evidence.weight("chalk") > evidence.weight("blackboard") > evidence.weight("mosaic") > 0


def test_words_in_prose_count_too() -> None:
    evidence = described("The object is drawn with chalk, in thin lines, on slate.")
    assert evidence.weight("chalk drawing") > evidence.weight("oil painting")


def test_the_stand_in_for_a_class_name_is_no_evidence() -> None:
    evidence = described("object, red object")
    assert evidence.weight("object") == evidence.weight("unheard")
    assert evidence.phrases == ()


def test_words_of_good_prompts_weigh_more_than_words_of_bad_ones() -> None:
    prompts = ["a map of a <CLASS>.", "a photo of a <CLASS>.", "an icon of a <CLASS>."]
    evidence = Evidence.of([], prompts)
    assert evidence.weight("icon") > evidence.weight("photo") > evidence.weight("map")


def test_the_numbers_of_images_are_no_words() -> None:
    evidence = described("Image 7: chalk, blackboard")
    assert evidence.weight("7") == evidence.weight("unheard")
    assert evidence.weight("chalk") > evidence.weight("blackboard")


def test_counts_of_a_summary_weigh_words_and_the_rest_of_it_is_none() -> None:
    evidence = described("Words that fit the 24 images, and how many each: chalk (20), wall (5)")
    assert evidence.weight("chalk") > evidence.weight("wall") > evidence.weight("each")
    assert evidence.phrases == ("chalk", "wall")
