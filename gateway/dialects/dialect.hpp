// A client-facing API: how its requests are read and how answers, errors and event streams are worded for its
// clients. Dialects are stateless singletons; every function is pure. They know nothing of upstreams.
#pragma once

#include "message/failure.hpp"
#include "message/request.hpp"
#include "wire/json_scan.hpp"
#include "wire/request_head.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::dialects {

class dialect;

// What the method and path alone say.
struct door_match
{
    const dialect* tongue = nullptr;
    door at = door::native_inference;
    std::string model; // from the path, decoded; empty: not there
    std::string task;  // from `/pipeline/{task}`; empty: not there
};

// Finds the door of a request: `path` is the target's path, undecoded, already checked by wire/target.
//   errors   no_such_door (404: names the doors), method_not_allowed (405)
[[nodiscard]] result<door_match> find_door(std::string_view path, wire::method verb);

// The body as far as it is known when a request is parsed.
struct body_facts
{
    bool json = false;                       // a complete JSON document; otherwise the payload itself
    const wire::json_index* index = nullptr; // json
    std::string_view text;                   // json: the document when it lies in memory whole, else empty
    std::vector<member_text>
        members;                  // json objects: the top-level members, texts of all that can be looked at
    std::string_view first_bytes; // raw: at least 64 bytes of the payload, or all of it
    std::uint64_t size = 0;       // the whole body: Content-Length, or what a chunked body came to
};

// How a canonical answer goes out to this client.
struct rendering
{
    enum class how : std::uint8_t {
        as_is,       // bytes or JSON untouched
        base64_json, // bytes as {"base64":"...","media_type":"..."}: `before`, base64 of the bytes, `after`
        reworded,    // a complete JSON answer in another shape: answer_of()
        events,      // an event stream untouched
        chunked_events, // a complete JSON chat answer for a client that asked for a stream:
                        // events_from_answer()
    };
    how as = how::as_is;
    std::string content_type;
    std::string before;
    std::string after;
};

class dialect
{
public:
    virtual ~dialect() = default;
    [[nodiscard]] virtual dialect_id id() const = 0;

    // The normalized request. `query` is undecoded.
    //   errors   invalid_json, invalid_base64, invalid_model, unknown_task, wrong_modality: text says what is
    //   wrong and what to do
    [[nodiscard]] virtual result<request> parse(
        const door_match& at, const wire::request_head& head, std::string_view query, const body_facts& body
    ) const = 0;

    // `kind_is_bytes`/`media_type`: the canonical answer's head (adapters/adapter.hpp answer_head, spelled
    // out: no include).
    // `own_json`: the door's own words already, from a server that speaks them.
    enum class answer_is : std::uint8_t { json, own_json, bytes, events };
    [[nodiscard]] virtual result<rendering>
    render(const request& asked, answer_is kind, std::string_view media_type) const = 0;

    // A complete canonical answer in the shape that this client accepts.
    //   errors   unavailable, unsupported: it holds nothing that could be told in that shape
    [[nodiscard]] virtual result<std::string> answer_of(const request& asked, std::string json) const = 0;

    // A complete JSON answer rendered as the event stream the client asked for, `[DONE]` included.
    [[nodiscard]] virtual std::string
    events_from_answer(const request& asked, std::string_view json) const = 0;

    // The status and body that a failure has here (503 only for `overloaded` on OpenAI doors).
    [[nodiscard]] virtual int status_of(const failure& what) const = 0;
    [[nodiscard]] virtual std::string error_body(const failure& what, std::string_view request_id) const = 0;
    // One SSE event for a failure after the 200 was committed, ending in a blank line.
    [[nodiscard]] virtual std::string error_event(const failure& what, std::string_view request_id) const = 0;
};

// Called again once the policy has told the task of a request that named none: finds the payload that only
// the task makes recognisable, gives it the media type that fits, and settles what the client accepts.
// parse() has called it.
//   task     null: asked.task stays as it is
//   body     the same facts that parse() had
//   errors   invalid_base64, wrong_modality, invalid_json (raw bytes that look like broken JSON for a task
//   that takes JSON)
[[nodiscard]] result<void> settle_task(request& asked, const task_info* task, const body_facts& body);

// The dialect that words errors before a door is known (the native shape).
[[nodiscard]] const dialect& fallback_dialect();

// Answers of our own: GET /v1/models and /v1/models/{id}.
struct model_line
{
    std::string id;
    std::string task;
};
[[nodiscard]] std::string models_body(const std::vector<model_line>& models, std::int64_t created);
[[nodiscard]] std::string model_body(const model_line& model, std::int64_t created);

} // namespace gw::dialects
