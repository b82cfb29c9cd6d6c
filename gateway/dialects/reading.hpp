// What all dialects share when they read a request: fields of the head, members of a JSON body, query
// parameters. Pure. Every failure made here says which field is at fault and what to write instead.
#pragma once

#include "dialects/dialect.hpp"
#include "message/failure.hpp"
#include "message/request.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gw::dialects {

// A name of the client's own as it may stand in an error text: quoted, cut at 100 bytes.
[[nodiscard]] std::string shown(std::string_view name);

// A refusal that names the field at fault.
[[nodiscard]] std::unexpected<failure> refuse_field(code what, std::string_view field, std::string text);

// The part of the normalized request that the head and the door alone tell: dialect, door, model and task of
// the path, Accept, Content-Type, User-Agent, fields that travel on, x-fourways-timeout.
//   errors   invalid_model, unknown_task (from the path); rejected: x-fourways-timeout is no duration
[[nodiscard]] result<request> begin(dialect_id id, const door_match& at, const wire::request_head& head);

// A top-level member of a JSON body.
struct member
{
    wire::json_kind kind = wire::json_kind::null;
    byte_range where;
    std::string_view text; // empty: it holds a string that is too long to be looked at
};

// nullopt: absent. `null` counts as absent too, since SDKs send it for what was not given.
[[nodiscard]] std::optional<member> find(const body_facts& body, std::string_view name);

// Takes over what every JSON body has: size, members.
//   example  a body of the right kind, for the text of the refusal
//   errors   invalid_json: not JSON, or no object
[[nodiscard]] result<void> take_object(request& into, const body_facts& body, std::string_view example);

// A refusal of a member of another type than `wanted`, which is told with its article.
[[nodiscard]] std::unexpected<failure>
wrong_type(std::string_view name, std::string_view wanted, wire::json_kind found);

// A string member, unescaped; nullopt when absent.
//   errors   invalid_json: another type, or too long to be looked at
[[nodiscard]] result<std::optional<std::string>> read_string(const body_facts& body, std::string_view name);

// A boolean member; false when absent.
//   errors   invalid_json: another type
[[nodiscard]] result<bool> read_bool(const body_facts& body, std::string_view name);

// `parameters`: the object's text; empty when absent, `{}`, or too long to be looked at.
//   errors   invalid_json: not an object
[[nodiscard]] result<std::string> read_parameters(const body_facts& body);

// Sets the model, or the task, as the client named it. An empty task name sets nothing.
//   errors   invalid_model: empty, over 512 bytes, or with control characters; unknown_task: names a near one
[[nodiscard]] result<void> set_model(request& into, std::string name);
[[nodiscard]] result<void> set_task(request& into, std::string name);

// The whole body is the payload.
//   errors   invalid_json: it is empty. What the task says against it comes from settle_task()
[[nodiscard]] result<void> take_raw(request& into, const body_facts& body);

// A query beside raw bytes. A value that is a number, true, false or null in JSON keeps that type, everything
// else is a string; a name that stands several times makes an array.
struct query_facts
{
    std::optional<std::string> model; // these two only if the names are reserved
    std::optional<std::string> task;
    std::string parameters; // a JSON object's text; empty: none
};
enum class reserved : bool { nothing, model_and_task };
//   errors   bad_framing: a bad escape; invalid_json: not UTF-8; invalid_model, unknown_task: said twice
[[nodiscard]] result<query_facts> read_query(std::string_view query, reserved names);

// How a canonical answer goes out through a door that takes any task: JSON and bytes as they are, bytes as
// base64 JSON if the client reads only JSON, and a JSON answer as events if the client asked for a stream.
//   errors   unavailable: an event stream that nobody asked for
[[nodiscard]] result<rendering>
render_any(const request& asked, dialect::answer_is kind, std::string_view media_type);

// The same for a chat door.
//   errors   unavailable: also for bytes
[[nodiscard]] result<rendering>
render_chat(const request& asked, dialect::answer_is kind, std::string_view media_type);

// Reads a chat request's body (`model` aside), for every chat door.
//   errors   invalid_json: no object, `messages` absent or no array, `stream` no boolean, `stream_options` no
//   object
[[nodiscard]] result<void> take_chat(request& into, const body_facts& body);

// `stream`, and that `stream_options` is an object.
//   errors   invalid_json
[[nodiscard]] result<void> take_stream(request& into, const body_facts& body);

// The name among `names` that `given` was probably meant to be; empty: none is near.
[[nodiscard]] std::string_view nearest(std::string_view given, std::span<const std::string_view> names);

} // namespace gw::dialects
