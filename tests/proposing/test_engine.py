import pytest
from dspy.lm15 import AudioPart, ImagePart, Message, Request, TextPart

from ipo_dspy.demo.proposer.offline import OfflineProposer
from ipo_dspy.proposing.engine import answer, texts, turns

PIXEL = "iVBORw0KGgo="


def test_a_conversation_keeps_texts_and_images_in_order() -> None:
    image = ImagePart(data=PIXEL)
    message = Message.user([TextPart("before"), image, TextPart("after")])
    conversation = turns(Request(model="m", system="be brief", messages=(message,)))
    assert conversation == [("system", ("be brief",)), ("user", ("before", image, "after"))]
    assert texts(conversation, "user") == ["beforeafter"]


def test_sound_is_refused_by_name() -> None:
    request = Request(model="m", messages=(Message.user([AudioPart(data="AAAA")]),))
    with pytest.raises(ValueError, match="'audio'"):
        turns(request)


def test_an_answer_says_whether_it_was_cut_off() -> None:
    request = Request(model="m", messages=(Message.user("hello"),))
    whole = answer(request, "hi", input_tokens=1, output_tokens=1)
    cut = answer(request, "hi", input_tokens=1, output_tokens=1, cut_off=True)
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")
    assert cut.usage.total_tokens == 2


def test_a_stream_ends_with_the_whole_answer() -> None:
    request = Request(model="m", messages=(Message.user("hello"),))
    kinds = [event.type for event in OfflineProposer().stream(request)]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
