// The conversation of every upstream that answers one request with one answer: send, judge the head, then
// let the answer through untouched, take the task's output out of it, or follow its events. A state machine
// without I/O.
#pragma once

#include "adapters/adapter.hpp"
#include "adapters/classify.hpp"

#include <memory>
#include <optional>
#include <string>

namespace gw::adapters {

// What the answer is, and what has to be done with it.
struct answer_plan
{
    expects wanted = expects::anything;
    bool chat = false;     // an OpenAI route
    bool as_asked = false; // which the client's door is too: the answer goes on untouched
    bool stream = false;   // the client asked for events
    std::optional<std::string>
        pointer; // JSON Pointer (RFC 6901) to the task's output; nullopt: the whole answer is it
    bool must_be_json = false;       // whatever the Content-Type says: the answer is read whole and checked
    const task_info* task = nullptr; // set: the answer is put into this task's form (canonical.hpp)
    bool translated = false;         // this server never answers in that form
    bool as_tokens = false;          // a stream is told in the words of TGI's (tokens.hpp)
    bool tokens = false;             // TGI's own stream, whose last event holds the whole text
};

// The conversation that sends `what`. `to` outlives it.
[[nodiscard]] std::unique_ptr<conversation>
make_exchange(exchange_request what, answer_plan plan, const target& to);

// Whether the data of an event holds something for the client: text, a tool call, an end. A bare role does
// not, nor does an event with usage alone.
[[nodiscard]] bool has_content(std::string_view data);

// Token counts of OpenAI's and Anthropic's `usage`, from an event or a whole answer: searched for, not
// parsed, so the last object under a key of that name counts, wherever it stands. (Inside a text the quotes
// would be escaped.)
void read_usage(std::string_view json, usage& into);

} // namespace gw::adapters
