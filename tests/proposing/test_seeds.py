from dspy.lm15 import Config, ImagePart, Message, Request

from ipo_dspy.proposing.engine import turns
from ipo_dspy.proposing.seeds import Seeds


def number(seeds: Seeds, seed: int | None, text: str = "hello", image: str = "AAAA") -> int:
    message = Message.user([text, ImagePart(data=image)])
    request = Request(model="m", messages=(message,), config=Config(seed=seed))
    return seeds.number(request, turns(request))


def test_a_seeded_number_does_not_depend_on_what_was_asked_before() -> None:
    asked = Seeds()
    assert [number(asked, 1), number(asked, 1)] == [number(Seeds(), 1)] * 2


def test_seed_text_and_image_all_count() -> None:
    seeds = Seeds()
    numbers = {
        number(seeds, 1),
        number(seeds, 2),
        number(seeds, 1, text="other"),
        number(seeds, 1, image="BBBB"),
    }
    assert len(numbers) == 4


def test_unseeded_numbers_differ_and_repeat_in_a_new_process() -> None:
    first, second = Seeds(), Seeds()
    numbers = [number(first, None) for _ in range(3)]
    assert len(set(numbers)) == 3
    assert numbers == [number(second, None) for _ in range(3)]
