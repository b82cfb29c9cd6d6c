#include "dialects/reading.hpp"

#include "payload/find_payload.hpp"
#include "payload/media_type.hpp"
#include "payload/tasks.hpp"
#include "wire/json_text.hpp"
#include "wire/target.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>
#include <vector>

namespace gw::dialects {
namespace {

constexpr std::size_t max_model_bytes = 512;

// A name of the client's own as it may stand in an error text.
std::string shown(std::string_view name)
{
    constexpr std::size_t longest = 100;
    std::string text = "`";
    text += name.substr(0, longest);
    text += name.size() > longest ? "...`" : "`";
    return text;
}

std::string_view with_article(wire::json_kind kind)
{
    switch (kind) {
    case wire::json_kind::object:
        return "an object";
    case wire::json_kind::array:
        return "an array";
    case wire::json_kind::string:
        return "a string";
    case wire::json_kind::number:
        return "a number";
    case wire::json_kind::true_:
    case wire::json_kind::false_:
        return "a boolean";
    case wire::json_kind::null:
        return "null";
    }
    return "null";
}

std::unexpected<failure> wrong_type(std::string_view name, std::string_view wanted, wire::json_kind found)
{
    std::string text = shown(name);
    text += " must be ";
    text += wanted;
    text += ", not ";
    text += with_article(found);
    text += '.';
    return refuse_field(code::invalid_json, name, std::move(text));
}

// `30s`, `1.5s`, `500ms`, `2m`, `1h`, or plain seconds; more than 0, at most a day.
std::optional<std::chrono::milliseconds> parse_timeout(std::string_view value)
{
    if (value.empty() || value.front() < '0' || value.front() > '9') {
        return std::nullopt; // also what from_chars would take: -1, inf, nan
    }
    double amount = 0;
    const char* const end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(value.data(), end, amount, std::chars_format::fixed);
    const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
    const double scale = unit == "ms"                  ? 1
                         : unit == "s" || unit.empty() ? 1'000
                         : unit == "m"                 ? 60'000
                         : unit == "h"                 ? 3'600'000
                                                       : 0;
    const double milliseconds = amount * scale;
    if (error != std::errc{} || milliseconds < 1 || milliseconds > 24 * 3'600'000.0) {
        return std::nullopt;
    }
    return std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds));
}

// RFC 8259 section 6.
bool is_json_number(std::string_view text)
{
    const auto digits = [&text] {
        const std::size_t before = text.size();
        while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
            text.remove_prefix(1);
        }
        return before - text.size();
    };
    const auto skip = [&text](std::string_view any_of) {
        const bool there = !text.empty() && any_of.find(text.front()) != std::string_view::npos;
        text.remove_prefix(there ? 1 : 0);
        return there;
    };

    skip("-");
    const bool leading_zero = text.starts_with('0');
    const std::size_t whole = digits();
    if (whole == 0 || (leading_zero && whole > 1)) {
        return false;
    }
    if (skip(".") && digits() == 0) {
        return false;
    }
    if (skip("eE")) {
        skip("+-");
        if (digits() == 0) {
            return false;
        }
    }
    return text.empty();
}

void append_query_value(std::string& out, const std::string& value)
{
    if (value == "true" || value == "false" || value == "null" || is_json_number(value)) {
        out += value;
    } else {
        wire::append_json_string(out, value);
    }
}

std::unexpected<failure> unexpected_answer(std::string text)
{
    return std::unexpected(
        failure{.what = code::unavailable, .from = origin::upstream, .text = std::move(text)}
    );
}

constexpr std::string_view unasked_stream = "The upstream answered with an event stream although none was "
                                            "asked for. Try again, or ask for `\"stream\": true`.";

rendering as_events(bool complete)
{
    return {
        .as = complete ? rendering::how::chunked_events : rendering::how::events,
        .content_type = "text/event-stream"
    };
}

std::string article_for(modality kind)
{
    const std::string_view name = to_string(kind);
    return (name == "image" || name == "audio" ? "an " : "a ") + std::string(name);
}

std::string json_form(const task_info& task)
{
    std::string form = R"({"inputs":)";
    if (task.raw_payload || task.payload_key.empty()) {
        form += task.binary_input() ? R"("<base64>")" : "...";
    } else {
        form += R"({")" + std::string(task.payload_key) + R"(":"<base64>")";
        if (!task.text_key.empty()) {
            form += R"(,")" + std::string(task.text_key) + R"(":"...")";
        }
        form += '}';
    }
    form += R"(,"parameters":{}})";
    return form;
}

// What the client reads when a task's output is `output`. When that is not known to be bytes, but bytes come
// all the same, bytes of any kind that the client named count.
payloads::acceptance acceptance_of(std::string_view accept, modality output)
{
    auto accepts = payloads::parse_accept(accept, output);
    if (is_binary(output) || !accepts.json) {
        return accepts;
    }
    accepts.binary = false;
    accepts.prefers_json = true;
    for (const auto kind : {modality::image, modality::audio, modality::video}) {
        const auto of_kind = payloads::parse_accept(accept, kind);
        accepts.binary = accepts.binary || of_kind.binary;
        accepts.prefers_json = accepts.prefers_json && (of_kind.prefers_json || !of_kind.binary);
    }
    return accepts;
}

// Whether these raw bytes may be this task's input.
result<void> check_raw(const request& asked, const task_info& task, std::string_view first_bytes)
{
    const std::string of_task = "The task " + shown(task.name);
    if (!task.binary_input() && task.input != modality::any) {
        if (payloads::looks_like_json(first_bytes)) {
            return refuse(
                code::invalid_json,
                of_task + " takes JSON, and the body is not valid JSON. Send it as " + json_form(task) + '.'
            );
        }
        return refuse(
            code::wrong_modality,
            of_task + " takes " + std::string(to_string(task.input)) + ", not raw bytes. Send " +
                json_form(task) + " with Content-Type: application/json."
        );
    }
    if (task.binary_input() && !task.raw_payload && asked.parameters.empty()) {
        return refuse(
            code::wrong_modality,
            of_task + " needs more than the raw bytes. Add the rest to the query, or send JSON: " +
                json_form(task) + '.'
        );
    }
    const std::string& media_type = asked.binary->media_type;
    const modality found = payloads::modality_of(media_type);
    if (task.binary_input() && found != modality::any && found != task.input) {
        return refuse(
            code::wrong_modality,
            of_task + " takes " + article_for(task.input) + ", and the body is " + media_type +
                ". Send the right file, or correct the Content-Type."
        );
    }
    return {};
}

// Whether a payload that stands in JSON may be this task's input.
result<void> check_found(const request& asked, const task_info& task)
{
    const std::string& media_type = asked.binary->media_type;
    const modality found = payloads::modality_of(media_type);
    if (task.binary_input() && is_binary(found) && found != task.input) {
        return refuse_field(
            code::wrong_modality,
            "inputs",
            "The task " + shown(task.name) + " takes " + article_for(task.input) + ", and `inputs` holds " +
                media_type + ". Send the right file, or correct its media type."
        );
    }
    return {};
}

std::size_t distance(std::string_view a, std::string_view b)
{
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row[b.size()];
}

} // namespace

std::unexpected<failure> refuse_field(code what, std::string_view field, std::string text)
{
    auto refusal = refuse(what, std::move(text));
    refusal.error().param = field;
    return refusal;
}

result<request> begin(dialect_id id, const door_match& at, const wire::request_head& head)
{
    request asked;
    asked.dialect = id;
    asked.at = at.at;
    asked.content_type = head.content_type;
    asked.accept = head.accept;
    asked.user_agent = head.user_agent;

    // The fields that travel on to upstreams.
    const std::pair<std::string_view, std::string_view> allowed[] = {
        {"traceparent", head.traceparent},
        {"tracestate", head.tracestate},
        {"baggage", head.baggage},
        {"anthropic-version", head.anthropic_version},
        {"x-wait-for-model", head.wait_for_model},
    };
    for (const auto& [name, value] : allowed) {
        if (!value.empty()) {
            asked.forwarded.emplace_back(name, value);
        }
    }

    if (head.timeout.data() != nullptr) {
        asked.timeout = parse_timeout(head.timeout);
        if (!asked.timeout) {
            return refuse_field(
                code::rejected,
                "x-fourways-timeout",
                "The field x-fourways-timeout is no duration. Write a number with its unit, for example 30s, "
                "500ms or 2m, at most 24h."
            );
        }
    }

    if (!at.model.empty()) {
        if (auto set = set_model(asked, at.model); !set) {
            return fail(set);
        }
    }
    if (auto set = set_task(asked, at.task); !set) {
        return fail(set);
    }
    return asked;
}

std::optional<member> find(const body_facts& body, std::string_view name)
{
    const auto* indexed = body.index != nullptr ? body.index->find(name) : nullptr;
    if (indexed == nullptr || indexed->kind == wire::json_kind::null) {
        return std::nullopt;
    }
    member found{.kind = indexed->kind, .where = indexed->where};
    for (const auto& each : body.members) {
        if (each.name == name) {
            found.text = each.text;
            break;
        }
    }
    return found;
}

result<void> take_object(request& into, const body_facts& body, std::string_view example)
{
    if (!body.json || body.index == nullptr) {
        return refuse(
            code::invalid_json,
            "The body is not JSON. Send " + std::string(example) + " with Content-Type: application/json."
        );
    }
    if (body.index->root != wire::json_kind::object) {
        return refuse(
            code::invalid_json,
            "The body must be a JSON object, not " + std::string(with_article(body.index->root)) + ". Send " +
                std::string(example) + '.'
        );
    }
    into.raw = false;
    into.body_size = std::max<std::uint64_t>(body.size, body.text.size());
    into.members = body.members;
    return {};
}

result<std::optional<std::string>> read_string(const body_facts& body, std::string_view name)
{
    const auto found = find(body, name);
    if (!found) {
        return std::nullopt;
    }
    if (found->kind != wire::json_kind::string) {
        return wrong_type(name, "a string", found->kind);
    }
    const bool readable = found->text.size() >= 2;
    auto text =
        readable ? wire::unescape_json_string(found->text.substr(1, found->text.size() - 2)) : std::nullopt;
    if (!text) {
        return refuse_field(code::invalid_json, name, shown(name) + " is far too long. Send a short string.");
    }
    return text;
}

result<bool> read_bool(const body_facts& body, std::string_view name)
{
    const auto found = find(body, name);
    if (!found) {
        return false;
    }
    if (found->kind != wire::json_kind::true_ && found->kind != wire::json_kind::false_) {
        return wrong_type(name, "true or false", found->kind);
    }
    return found->kind == wire::json_kind::true_;
}

result<std::string> read_parameters(const body_facts& body)
{
    const auto found = find(body, "parameters");
    if (!found) {
        return std::string{};
    }
    if (found->kind != wire::json_kind::object) {
        return wrong_type("parameters", R"(a JSON object such as {"top_k":3})", found->kind);
    }
    const bool holds_something = found->text.find_first_not_of("{} \t\r\n") != std::string_view::npos;
    return holds_something ? std::string(found->text) : std::string{};
}

result<void> set_model(request& into, std::string name)
{
    if (name.empty()) {
        return refuse_field(
            code::invalid_model,
            "model",
            "`model` is missing or empty. Name the model to run, for example google/vit-base-patch16-224; "
            "GET /v1/models lists the configured ones."
        );
    }
    if (name.size() > max_model_bytes) {
        return refuse_field(
            code::invalid_model,
            "model",
            "`model` has " + std::to_string(name.size()) + " bytes; no name has more than " +
                std::to_string(max_model_bytes) + ". Use `namespace/name` as on the Hub."
        );
    }
    const bool has_control = std::ranges::any_of(name, [](char byte) {
        return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F;
    });
    if (has_control || !simdjson::validate_utf8(name)) {
        return refuse_field(
            code::invalid_model,
            "model",
            "`model` holds control characters or bytes that are no text. Use `namespace/name` as on the Hub."
        );
    }
    into.model = std::move(name);
    return {};
}

result<void> set_task(request& into, std::string name)
{
    if (name.empty()) {
        return {};
    }
    into.task = payloads::find_task(name);
    if (into.task == nullptr) {
        const std::string near = payloads::nearest_task(name);
        std::string text = shown(name) + " is no task that the gateway knows. ";
        text += near.empty() ? std::string("Use the name of one of Hugging Face's tasks, for example "
                                           "`image-classification`, or leave it out.")
                             : "Did you mean `" + near + "`?";
        return refuse_field(code::unknown_task, "task", std::move(text));
    }
    into.task_name = std::move(name);
    return {};
}

result<void> take_raw(request& into, const body_facts& body)
{
    if (body.size == 0) {
        return refuse(
            code::invalid_json,
            R"(The body is empty. Send JSON such as {"inputs":"..."}, or the raw bytes of the image or audio file.)"
        );
    }
    into.raw = true;
    into.body_size = body.size;
    into.binary =
        payload{.as = payload::form::raw, .where = {.begin = 0, .end = body.size}, .size = body.size};
    return {};
}

result<void> settle_task(request& asked, const task_info* task, const body_facts& body)
{
    if (task != nullptr) {
        asked.task = task;
    }
    const modality input = asked.task != nullptr ? asked.task->input : modality::any;

    if (is_chat(asked.at)) {
        return {}; // text in, text out, whatever Accept says
    }

    // What the client can read depends on what the task gives.
    const auto accepts =
        acceptance_of(asked.accept, asked.task != nullptr ? asked.task->output : modality::any);
    asked.accepts_json = accepts.json;
    // A browser's script says `application/json, */*;q=0.1`: on the native door that is a wish. Hugging
    // Face's own clients expect bytes unless nothing but JSON is accepted.
    const bool wants_json = asked.dialect == dialect_id::native && accepts.prefers_json;
    asked.accepts_binary = accepts.binary && !wants_json;

    if (asked.raw) {
        // What the client declares counts if it says image, audio or video; else what the bytes show.
        std::string declared = payloads::canonical(asked.content_type, input);
        const std::string_view shows = payloads::sniff(body.first_bytes, input);
        const bool declared_well = is_binary(payloads::modality_of(declared));
        asked.binary->media_type = declared_well || shows.empty() ? std::move(declared) : std::string(shows);
        return asked.task != nullptr ? check_raw(asked, *asked.task, body.first_bytes) : result<void>{};
    }
    if (!body.json || body.index == nullptr) {
        return {};
    }

    // The body may lie in memory; else only the index and the short members are looked at.
    const auto peek = [&body](byte_range range) {
        const bool inside = range.begin <= range.end && range.end <= body.text.size();
        return inside ? body.text.substr(range.begin, range.size()) : std::string_view{};
    };
    auto found = payloads::find_payload(*body.index, body.members, asked.task, peek);
    if (!found) {
        return fail(found);
    }
    asked.binary = std::move(*found);
    return asked.task != nullptr && asked.binary ? check_found(asked, *asked.task) : result<void>{};
}

result<query_facts> read_query(std::string_view query, reserved names)
{
    // Names in the order in which they came, each with all its values.
    std::vector<std::pair<std::string, std::vector<std::string>>> pairs;
    std::map<std::string, std::size_t, std::less<>> places;
    bool is_text = true;
    const auto read = wire::for_each_query(query, [&](std::string name, std::string value) {
        is_text = is_text && simdjson::validate_utf8(name) && simdjson::validate_utf8(value);
        const auto [place, is_new] = places.try_emplace(name, pairs.size());
        if (is_new) {
            pairs.emplace_back(std::move(name), std::vector<std::string>{});
        }
        pairs[place->second].second.push_back(std::move(value));
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (!is_text) {
        return refuse(
            code::invalid_json,
            "The query is not UTF-8 once its percent escapes are undone. Encode it as UTF-8."
        );
    }

    query_facts facts;
    for (auto& [name, values] : pairs) {
        // The names that are no parameters.
        if (names == reserved::model_and_task && (name == "model" || name == "task")) {
            if (values.size() > 1) {
                return refuse_field(
                    name == "model" ? code::invalid_model : code::unknown_task,
                    name,
                    shown(name) + " stands in the query more than once. Name it once."
                );
            }
            (name == "model" ? facts.model : facts.task) = std::move(values.front());
            continue;
        }

        facts.parameters += facts.parameters.empty() ? '{' : ',';
        wire::append_json_string(facts.parameters, name);
        facts.parameters += ':';
        if (values.size() == 1) {
            append_query_value(facts.parameters, values.front());
            continue;
        }
        for (std::size_t i = 0; i < values.size(); ++i) {
            facts.parameters += i == 0 ? '[' : ',';
            append_query_value(facts.parameters, values[i]);
        }
        facts.parameters += ']';
    }
    if (!facts.parameters.empty()) {
        facts.parameters += '}';
    }
    return facts;
}

result<rendering> render_any(const request& asked, dialect::answer_is kind, std::string_view media_type)
{
    switch (kind) {
    case dialect::answer_is::events:
        if (!asked.stream) {
            return unexpected_answer(std::string(unasked_stream));
        }
        return as_events(false);
    case dialect::answer_is::json:
        if (asked.stream) {
            return as_events(true);
        }
        return rendering{.as = rendering::how::as_is, .content_type = "application/json"};
    case dialect::answer_is::bytes:
        break;
    }

    const std::string_view type =
        media_type.empty() ? std::string_view{"application/octet-stream"} : media_type;
    if (asked.accepts_binary || !asked.accepts_json) {
        return rendering{.as = rendering::how::as_is, .content_type = std::string(type)};
    }
    rendering wrapped{
        .as = rendering::how::base64_json,
        .content_type = "application/json",
        .before = R"({"base64":")",
        .after = R"(","media_type":)"
    };
    wire::append_json_string(wrapped.after, type);
    wrapped.after += '}';
    return wrapped;
}

result<rendering> render_chat(const request& asked, dialect::answer_is kind, std::string_view media_type)
{
    if (kind == dialect::answer_is::bytes) {
        return unexpected_answer(
            "The upstream answered with " + std::string(media_type) +
            " where a chat completion was due. Check that the model is a chat model."
        );
    }
    return render_any(asked, kind, media_type);
}

result<void> take_chat(request& into, const body_facts& body)
{
    // The body as a whole.
    const auto taken =
        take_object(into, body, R"({"model":"...","messages":[{"role":"user","content":"..."}]})");
    if (!taken) {
        return taken;
    }
    into.task = payloads::find_task("chat-completion");

    // The fields that matter here; everything else travels as it is.
    const auto messages = find(body, "messages");
    if (!messages) {
        return refuse_field(
            code::invalid_json,
            "messages",
            R"(`messages` is missing. Send a list such as [{"role":"user","content":"Hello"}].)"
        );
    }
    if (messages->kind != wire::json_kind::array) {
        return wrong_type(
            "messages", R"(a list such as [{"role":"user","content":"Hello"}])", messages->kind
        );
    }
    auto stream = read_bool(body, "stream");
    if (!stream) {
        return fail(stream);
    }
    into.stream = *stream;
    const auto options = find(body, "stream_options");
    if (options && options->kind != wire::json_kind::object) {
        return wrong_type("stream_options", R"(an object such as {"include_usage":true})", options->kind);
    }

    // The value of `model`, so that an upstream can be given the name it knows.
    if (const auto* model = body.index->find("model")) {
        into.model_at = model->where;
    }
    return {};
}

std::string_view nearest(std::string_view given, std::span<const std::string_view> names)
{
    constexpr std::size_t longest = 64; // no field's name is that long
    if (given.size() > longest) {
        return {};
    }
    std::string_view best;
    std::size_t best_distance = 2 + given.size() / 4;
    for (const std::string_view each : names) {
        const std::size_t far = distance(given, each);
        if (far < best_distance) {
            best = each;
            best_distance = far;
        }
    }
    return best;
}

} // namespace gw::dialects
