"""What is asked of the model: the branch, cut to what it can read."""

from typing import Any

import pytest

from completions.types import ChatMessage
from conversations.prompts import ASK_TO_CONTINUE, Prompt, build_prompt, estimate_tokens
from conversations.providers import OfferedModel

LONG = "word " * 200  # about 290 tokens


def model(**how: Any) -> OfferedModel:
    return OfferedModel(
        id="m",
        name="m",
        label="M",
        short_label="M",
        provider="p",
        context_tokens=how.pop("context_tokens", 8000),
        prefill=how.pop("prefill", False),
        defaults=how.pop("defaults", {}),
    )


def path(*texts: str) -> list[ChatMessage]:
    """Question, answer, question, …"""
    return [
        ChatMessage("assistant" if place % 2 else "user", text) for place, text in enumerate(texts)
    ]


def prompt(messages: list[ChatMessage], **how: Any) -> Prompt:
    return build_prompt(
        messages, how.pop("model", model()), parameters=how.pop("parameters", {}), **how
    )


def contents(built: Prompt) -> list[str]:
    return [message.content for message in built.request.messages]


def test_a_short_conversation_is_sent_whole_and_in_order() -> None:
    built = prompt(path("One", "Two", "Three"), system_prompt="Be brief")
    assert [(m.role, m.content) for m in built.request.messages] == [
        ("system", "Be brief"),
        ("user", "One"),
        ("assistant", "Two"),
        ("user", "Three"),
    ]
    assert built.left_out == 0


def test_the_parameters_and_the_models_defaults_are_sent() -> None:
    chosen = {"temperature": 0.7, "max_tokens": 50, "stop": ["END"]}
    creative = model(defaults={"temperature": 0.2, "top_p": 0.9})
    request = prompt(path("One"), model=creative, parameters=chosen, n=3).request
    assert (request.temperature, request.top_p, request.max_tokens) == (0.7, 0.9, 50)
    assert (request.stop, request.n, request.model) == (("END",), 3, "m")


def test_nothing_set_is_nothing_sent() -> None:
    request = prompt(path("One")).request
    assert (request.temperature, request.top_p, request.max_tokens) == (None, None, None)
    assert (request.stop, request.n, request.prefill) == ((), 1, False)


def test_the_oldest_messages_are_left_out_when_not_all_fit() -> None:
    texts = [f"{number} {LONG}" for number in range(11)]
    built = prompt(path(*texts), model=model(context_tokens=2000))
    kept = contents(built)
    assert 0 < len(kept) < 11
    assert kept == texts[-len(kept) :]
    assert built.left_out == 11 - len(kept)
    assert built.request.messages[0].role == "user"  # no answer without its question
    assert sum(map(estimate_tokens, kept)) < 1500


def test_a_longer_context_keeps_more() -> None:
    texts = [f"{number} {LONG}" for number in range(21)]
    sizes = [
        len(contents(prompt(path(*texts), model=model(context_tokens=tokens))))
        for tokens in (1000, 2000, 4000, 16000)
    ]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 21


def test_the_system_prompt_and_the_last_question_are_always_sent() -> None:
    built = prompt(
        path("Old", "Answer", LONG * 50), model=model(context_tokens=512), system_prompt=LONG
    )
    assert contents(built) == [LONG, LONG * 50]
    assert built.left_out == 2


def test_room_is_kept_for_the_answer_but_never_all_of_it() -> None:
    texts = [f"{number} {LONG}" for number in range(21)]

    def kept(max_tokens: int) -> int:
        parameters = {"max_tokens": max_tokens}
        built = prompt(path(*texts), model=model(context_tokens=4000), parameters=parameters)
        return len(contents(built))

    assert kept(100) > kept(2500) > 1
    assert kept(1_000_000) >= 3  # a quarter of the context at least


def test_room_is_kept_for_an_answer_as_long_as_the_models_default() -> None:
    long = path(*(f"{number} {LONG}" for number in range(21)))
    asked = prompt(long, model=model(context_tokens=4000), parameters={"max_tokens": 2500})
    default = prompt(long, model=model(context_tokens=4000, defaults={"max_tokens": 2500}))
    assert default.request == asked.request


def test_continuing_by_asking_ends_with_the_cut_answer_and_the_request() -> None:
    built = prompt(path("One", "Half an"), continuing=True)
    assert contents(built) == ["One", "Half an", ASK_TO_CONTINUE]
    assert built.request.messages[-1].role == "user"
    assert not built.request.prefill


def test_continuing_in_place_ends_with_the_cut_answer() -> None:
    built = prompt(path("One", "Half an"), model=model(prefill=True), continuing=True)
    assert contents(built) == ["One", "Half an"]
    assert built.request.prefill
    assert not prompt(path("One"), model=model(prefill=True)).request.prefill


def test_continuing_keeps_question_and_cut_answer_however_long() -> None:
    built = prompt(
        path("Old", "Older", LONG * 20, LONG * 20),
        model=model(context_tokens=512),
        continuing=True,
    )
    assert contents(built) == [LONG * 20, LONG * 20, ASK_TO_CONTINUE]


@pytest.mark.parametrize("text", ["", "a", "word " * 50, "日本語" * 30, "🎈" * 10, "ünïcode"])
def test_estimates_grow_with_the_text(text: str) -> None:
    assert 0 < estimate_tokens(text) < estimate_tokens(text * 2 + "some more of it")


def test_scripts_with_more_tokens_a_character_are_estimated_higher() -> None:
    assert estimate_tokens("字" * 100) > 2 * estimate_tokens("a" * 100)
