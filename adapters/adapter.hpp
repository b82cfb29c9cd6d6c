// What speaks one kind of upstream. An adapter is a factory without state; a conversation is one attempt with
// one upstream: a state machine without I/O and without a clock. Dispatch feeds it events and does what it
// answers, so a way that needs one exchange and a way that needs five look the same from outside.
//
//   start -> send(request) -> head -> read(how) -> text | whole | sse... end -> emit | forward | fail | send
//   | wait ... done
//
// Views in events are valid during the call only. Transport failures never reach a conversation: dispatch
// turns them into a verdict itself (upstream/classify_transport).
#pragma once

#include "config/settings.hpp"
#include "message/body.hpp"
#include "message/outcome.hpp"
#include "message/recycled.hpp"
#include "message/request.hpp"
#include "message/usage.hpp"
#include "wire/json_scan.hpp"
#include "wire/response_head.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace gw::adapters {

using time_point = std::chrono::steady_clock::time_point;
using wall_time = std::chrono::system_clock::time_point;

// Who is asked: everything about one candidate that an encoding may depend on. Its views point into the plan.
struct target
{
    const config::upstream* to = nullptr;
    const config::token* with = nullptr; // null: none needed
    std::string_view model;              // the name there
    std::string_view
        provider;             // the router's suffix that the client gave (`together`, `fastest`); empty: none
    bool at_provider = false; // `model` is `id:provider`: what that provider itself calls it
    const task_info* task =
        nullptr; // resolved by the policy; null: not known, so only pass-through is possible
};

// One HTTP exchange. Host, Authorization (or X-HF-Authorization), Content-Length and the client's
// allow-listed headers are added by dispatch; nothing else is.
struct exchange_request
{
    std::string method = "POST";
    std::string path; // origin form, with the upstream's base path, segments percent-encoded, and the query
    std::string content_type;    // empty: no body type
    std::string accept;          // one exact value; empty: none
    std::string fields;          // further `name: value\r\n` lines (X-HF-Bill-To, ...)
    body_plan body;              // ranges of the client's body; always sent with Content-Length
    bool expects_stream = false; // the first-byte limit of streams applies
};

enum class answer_kind : std::uint8_t { json, bytes, events };

// What the client is about to get, in the canonical form of the task.
struct answer_head
{
    answer_kind kind = answer_kind::json;
    std::string media_type;              // `application/json`, `image/png`, `text/event-stream`
    std::optional<std::uint64_t> length; // when known
    bool as_asked = false;               // JSON in the words of the client's own door: nothing to translate
};

namespace event {
struct start
{
};
struct head // the final response head (1xx are swallowed before)
{
    const wire::response_head& is;
};
struct text // after read(text): an error body, at most 64 KiB of it
{
    std::string_view body;
};
struct whole // after read(whole): a complete, checked JSON document, kept in a log that emit() may refer to
             // by range
{
    const wire::json_index& index;
    std::string_view
        text; // the document itself; empty when it is too long to be held (then `index` still has its ranges)
};
struct sse // after read(events): one complete event that is not a comment
{
    std::string_view name;
    std::string_view data;
    bool oversize = false; // too long to be held whole, so `data` is empty: it counts as content
};
struct end // after read(raw) or read(events): the body ended cleanly
{
};
struct elapsed // after wait
{
};
} // namespace event
using event_type = std::
    variant<event::start, event::head, event::text, event::whole, event::sse, event::end, event::elapsed>;

namespace action {
struct send
{
    exchange_request what;
};
struct read
{
    enum class as : std::uint8_t {
        text,   // an error body: collected (cut at 64 KiB), then event::text
        whole,  // JSON to be translated: collected and scanned, then event::whole. Bad JSON is `unavailable`
        raw,    // the body is the answer: its bytes go on untouched, no event until the end
        events, // an event stream: event::sse for each; a comment is swallowed
    };
    as how = as::raw;
    answer_head answer; // raw and events: what they are
    bool held = false;  // whole: its text is needed, up to `limits.json_bytes` of it
};
struct emit // the canonical answer: text of ours, or ranges of the log of the last event::whole. Then the
            // attempt is done
{
    answer_head head;
    body_plan body;
};
struct forward // the event as it came (its raw bytes)
{
    bool content = true; // false: kept back until the first content (a bare role)
};
struct retell // the event in other words: content
{
    std::string event; // whole, with its blank line
};
struct drop // the event is not passed on
{
};
struct wait
{
    time_point until;
};
struct done
{
};
struct fail
{
    verdict why;
};
} // namespace action
using action_type = std::variant<
    action::send,
    action::read,
    action::emit,
    action::forward,
    action::retell,
    action::drop,
    action::wait,
    action::done,
    action::fail>;

class conversation : public recycled
{
public:
    virtual ~conversation() = default;

    // What to do next. `now` is steady; `wall` is for headers that carry dates.
    [[nodiscard]] virtual action_type step(const event_type& what, time_point now, wall_time wall) = 0;

    // What the upstream said it used so far (tokens); empty until it told.
    [[nodiscard]] virtual const usage& used() const = 0;

    // The verdict on the head of a good answer. `ok`; with a retry_after when the answer says that the
    // token's budget is used up (RateLimit r=0): then only that cooldown follows from it.
    [[nodiscard]] virtual const verdict& accepted() const = 0;

    // A complete pass-through answer that lies in memory anyway may be looked at for its usage. Never changes
    // it.
    virtual void look(std::string_view whole_answer) = 0;
};

// How one candidate would be asked; for `fourways explain` and the access record.
enum class encoding : std::uint8_t { pass_through, binary, base64_json, custom_template, json };
[[nodiscard]] std::string_view to_string(encoding value);

class adapter
{
public:
    virtual ~adapter() = default;

    // The encoding that `to` would get, or why it cannot be asked: wrong_modality, unknown_task, unsupported,
    // ...
    [[nodiscard]] virtual result<encoding> plan(const request& asked, const target& to) const = 0;

    // Starts an attempt, or says why `to` cannot be asked, as plan() does. Both references outlive the
    // conversation.
    [[nodiscard]] virtual result<std::unique_ptr<conversation>>
    open(const request& asked, const target& to) const = 0;

    // True when plan() can send while the client's body still arrives: only ranges of a sized raw body are
    // used.
    [[nodiscard]] virtual bool can_stream(const request& asked, const target& to) const = 0;
};

// The adapter for an upstream: one line per kind and engine in registry.cpp.
[[nodiscard]] const adapter& adapter_for(const config::upstream& to);

} // namespace gw::adapters
