"""Tool calls, in every dialect."""

from completions.types import Limits, Usage
from tests.completions.dialects import (
    ANY,
    DONE,
    STOP,
    TOOLS,
    Case,
    calls,
    chunk,
    delta,
    event,
    part,
    said,
    usage,
    whole,
)

RAIN = '{"city":"Rome"}'
SUN = '{"city":"Oslo"}'
ONE = (("c1", "weather", RAIN),)
TWO = (("c1", "weather", RAIN), ("c2", "weather", SUN))

CASES = [
    Case(
        "openai tool call in parts",
        chunk(delta(role="assistant", content=None, refusal=None), usage=None)
        + calls(part(0, "c1", "weather", "", type="function"))
        + calls(part(0, arguments='{"city"'))
        + calls(part(0, arguments=':"Rome"}'))
        + TOOLS
        + chunk(usage=usage(5, 9))
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
        usage=Usage(5, 9),
    ),
    Case(
        "openai parallel tool calls that alternate",
        calls(part(0, "c1", "weather", ""))
        + calls(part(1, "c2", "weather", ""))
        + calls(part(1, arguments=SUN[:5]), part(0, arguments=RAIN[:7]))
        + calls(part(0, arguments=RAIN[7:]), part(1, arguments=SUN[5:]))
        + TOOLS
        + DONE,
        text="",
        tools=TWO,
        finish="tool_calls",
    ),
    Case(
        "openai text and then a tool call",
        said("Hello", " there") + calls(part(0, "c1", "weather", RAIN)) + TOOLS + DONE,
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "openai function that had to be called ends with stop",
        calls(part(0, "c1", "weather", RAIN)) + STOP + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "openai tool calls of two choices",
        calls(part(0, "c1", "weather", RAIN))
        + calls(part(0, "c2", "weather", SUN), index=1)
        + chunk(delta(finish="tool_calls"), delta(index=1, finish="tool_calls"))
        + DONE,
        text={},
        tools={0: TWO[:1], 1: TWO[1:]},
        finish={0: "tool_calls", 1: "tool_calls"},
        n=2,
    ),
    Case(
        "openai legacy function call",
        chunk(delta(role="assistant", content=None, function_call={"name": "weather"}))
        + chunk(delta(function_call={"arguments": RAIN[:4]}))
        + chunk(delta(function_call={"arguments": RAIN[4:]}))
        + chunk(delta(finish="function_call"))
        + DONE,
        text="",
        tools=((ANY, "weather", RAIN),),
        finish="tool_calls",
    ),
    Case(
        "openai tool calls of a whole answer",
        whole({"content": None, "tool_calls": [part(None, "c1", "weather", RAIN)]}, "tool_calls"),
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "azure tool call between filter results",
        event({"choices": [], "id": "", "model": "", "prompt_filter_results": [{}]})
        + calls(part(0, "c1", "weather", ""), content=None)
        + calls(part(0, arguments=RAIN))
        + TOOLS
        + chunk({"index": 0, "finish_reason": None, "content_filter_results": {}})
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "gemini parallel tool calls without index in one event",
        calls(part(None, "c1", "weather", RAIN), part(None, "c2", "weather", SUN), finish="stop")
        + DONE,
        text="",
        tools=TWO,
        finish="tool_calls",
    ),
    Case(
        "gemini parallel tool calls without index in two events",
        calls(part(None, "c1", "weather", RAIN), role="assistant")
        + calls(part(None, "c2", "weather", SUN), role="assistant", finish="stop")
        + DONE,
        text="",
        tools=TWO,
        finish="tool_calls",
    ),
    Case(
        "gemini parallel tool calls that are all number 0",
        calls(part(0, "c1", "weather", RAIN))
        + calls(part(0, "c2", "weather", SUN), finish="stop")
        + DONE,
        text="",
        tools=TWO,
        finish="tool_calls",
    ),
    Case(
        "gemini tool calls with empty ids",
        calls(part(None, "", "weather", RAIN), part(None, "", "weather", SUN))
        + chunk(delta("", finish="STOP"))
        + DONE,
        text="",
        tools=((ANY, "weather", RAIN), (ANY, "weather", SUN)),
        finish="tool_calls",
    ),
    Case(
        "gemini index null",
        calls(part(None, "c1", "weather", RAIN) | {"index": None}, finish="stop"),
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "anthropic gateway whose calls are numbered after the text",
        said("Hello there")
        + calls(part(1, "c1", "weather", ""))
        + calls(part(1, arguments=RAIN))
        + chunk(delta(finish="tool_use"))
        + DONE,
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "bedrock tool call between control chunks",
        event({"type": "message_start"})
        + calls(part(0, "c1", "weather", ""))
        + event({"type": "content_block_delta"})
        + calls(part(0, arguments=RAIN))
        + TOOLS
        + event({"metrics": {}})
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "vllm a new id in every part",
        calls(part(0, "c1", "weather", type="function"))
        + calls(part(0, "x2", arguments=RAIN[:6], type="function"))
        + calls(part(0, "x3", arguments=RAIN[6:], type="function"))
        + chunk(delta("", finish="tool_calls", stop_reason=None))
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "vllm empty list of tool calls in every delta",
        chunk(delta("Hello", tool_calls=[]))
        + chunk(delta(" there", tool_calls=[]))
        + chunk(delta("", tool_calls=[], finish="stop"))
        + DONE,
    ),
    Case(
        "sglang null name and null arguments",
        chunk(delta(tool_calls=[part(0, "c1", "weather") | {"type": "function"}]))
        + chunk(delta(tool_calls=[{"index": 0, "function": {"name": None, "arguments": None}}]))
        + chunk(
            delta(
                tool_calls=[{"index": 0, "id": None, "function": {"name": None, "arguments": RAIN}}]
            )
        )
        + TOOLS
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "llama.cpp tool call beside null content",
        chunk(delta(role="assistant", content=None))
        + calls(part(0, "c1", "weather", "{", type="function"))
        + calls(part(0, arguments=RAIN[1:]))
        + chunk(delta(finish="tool_calls"), timings={"prompt_n": 4})
        + b"data: [DONE]",
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "ollama whole call, empty content",
        calls(part(0, "c1", "weather", RAIN, type="function"), role="assistant", content="")
        + chunk(delta("", role="assistant", finish="tool_calls"), system_fingerprint="fp_ollama")
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "ollama tool call, null finish but done",
        calls(part(0, "c1", "weather", RAIN)) + DONE,
        text="",
        tools=ONE,
        finish=None,
    ),
    Case(
        "ollama arguments as an object",
        calls(part(0, "c1", "weather", {"city": "Rome"})) + STOP + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "lm studio empty names repeated",
        calls(part(0, "c1", "weather", "", type="function"))
        + calls(part(0, "c1", "", RAIN[:3], type="function"))
        + calls(part(0, "c1", "", RAIN[3:], type="function"))
        + TOOLS
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "lm studio the name repeated",
        calls(part(0, "c1", "weather", ""))
        + calls(part(0, "", "weather", RAIN[:3]))
        + calls(part(0, "", "weather", RAIN[3:]))
        + TOOLS
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "litellm usage beside an empty delta after a tool call",
        chunk(
            {"index": 0, "delta": {"role": "assistant", "tool_calls": [part(0, "c1", "weather")]}}
        )
        + chunk({"index": 0, "delta": {"tool_calls": [part(0, arguments=RAIN)]}})
        + TOOLS
        + chunk({"index": 0, "delta": {}}, usage=usage(3, 4))
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
        usage=Usage(3, 4),
    ),
    Case(
        "openrouter reasoning and then a tool call",
        b": OPENROUTER PROCESSING\n\n"
        + chunk(delta("", reasoning="Hm.", reasoning_details=[{"text": "Hm."}]))
        + calls(part(0, "c1", "weather", RAIN), content=None, reasoning=None)
        + chunk(delta("", finish="tool_calls", native_finish_reason="tool_calls"))
        + chunk(delta("", role="assistant"), usage=usage(2, 3))
        + DONE,
        text="",
        reasoning="Hm.",
        tools=ONE,
        finish="tool_calls",
        usage=Usage(2, 3),
    ),
    Case(
        "deepseek reasoning, text and a tool call",
        b": keep-alive\n\n"
        + chunk(delta(role="assistant", content=None, reasoning_content="Hm."))
        + said("Hello there")
        + calls(part(0, "c1", "weather", ""))
        + calls(part(0, arguments=RAIN))
        + chunk(delta("", finish="tool_calls"), usage=usage(1, 2))
        + DONE,
        reasoning="Hm.",
        tools=ONE,
        finish="tool_calls",
        usage=Usage(1, 2),
    ),
    Case(
        "mistral whole tool calls on the finish",
        chunk(delta("", role="assistant"))
        + calls(part(0, "c1", "weather", RAIN), part(1, "c2", "weather", SUN), finish="tool_calls")
        + DONE,
        text="",
        tools=TWO,
        finish="tool_calls",
    ),
    Case(
        "groq whole tool call and usage under x_groq",
        calls(part(0, "c1", "weather", RAIN, type="function"))
        + event({"choices": [delta(finish="tool_calls")], "x_groq": {"usage": usage(4, 5)}})
        + DONE,
        text="",
        tools=ONE,
        finish="tool_calls",
        usage=Usage(4, 5),
    ),
    Case(
        "stream ignored, arguments as an object",
        whole({"content": "", "tool_calls": [part(None, None, "weather", {"city": "Rome"})]}, None),
        text="",
        tools=((ANY, "weather", RAIN),),
        finish=None,
    ),
    Case(
        "stream ignored, legacy function call",
        whole({"content": None, "function_call": {"name": "weather", "arguments": RAIN}}),
        text="",
        tools=((ANY, "weather", RAIN),),
        finish="tool_calls",
    ),
    Case(
        "one part that is no list, and flat",
        chunk(delta(tool_calls={"id": "c1", "name": "weather", "arguments": RAIN})) + STOP,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "no number and no id: the arguments go on with the last call",
        calls(part(None, None, "weather", RAIN[:4]))
        + calls(part(None, None, None, RAIN[4:]))
        + calls(part(None, None, "weather", SUN[:4]))
        + calls(part(None, None, "weather", SUN[4:]))
        + STOP,
        text="",
        tools=((ANY, "weather", RAIN), (ANY, "weather", SUN)),
        finish="tool_calls",
    ),
    Case(
        "the name after the id",
        calls(part(0, "c1"))
        + calls(part(0, None, "weather"))
        + calls(part(0, arguments=RAIN))
        + STOP,
        text="",
        tools=ONE,
        finish="tool_calls",
    ),
    Case(
        "odd tool calls are none",
        chunk(delta("Hello there", tool_calls=[None, 5, {}, {"function": "x"}, {"index": 0}]))
        + STOP
        + DONE,
    ),
    Case(
        "odd index",
        calls(part("0", "c1", "weather", RAIN)) + calls(part(-1, "c2", "weather", SUN)) + STOP,
        text="",
        tools=TWO,
        finish="tool_calls",
    ),
    Case(
        "half a tool call",
        calls(part(0, "c1", "weather", RAIN[:5])),
        text="",
        tools=(("c1", "weather", RAIN[:5]),),
        finish=None,
        error="broken",
    ),
    Case(
        "length within a tool call",
        calls(part(0, "c1", "weather", RAIN[:5])) + chunk(delta(finish="length")) + DONE,
        text="",
        tools=(("c1", "weather", RAIN[:5]),),
        finish="length",
    ),
    Case(
        "tool calls count as length",
        calls(part(0, "c1", "weather", "x" * 10)) + calls(part(0, arguments="x" * 80)) + STOP,
        text="",
        tools=(("c1", "weather", "x" * 10),),
        finish="length",
        limits=Limits(answer_chars=40),
    ),
]
