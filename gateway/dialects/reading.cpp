#include "dialects/reading.hpp"

#include "payload/tasks.hpp"
#include "wire/json_text.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

namespace gw::dialects {
namespace {

constexpr std::size_t max_model_bytes = 512;

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

std::string shown(std::string_view name)
{
    constexpr std::size_t longest = 100;
    std::string text = "`";
    text += name.substr(0, longest);
    text += name.size() > longest ? "...`" : "`";
    return text;
}

std::unexpected<failure> refuse_field(code what, std::string_view field, std::string text)
{
    auto refusal = refuse(what, std::move(text));
    refusal.error().param = field;
    return refusal;
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

result<void> take_stream(request& into, const body_facts& body)
{
    auto stream = read_bool(body, "stream");
    if (!stream) {
        return fail(stream);
    }
    into.stream = *stream;
    const auto options = find(body, "stream_options");
    if (options && options->kind != wire::json_kind::object) {
        return wrong_type("stream_options", R"(an object such as {"include_usage":true})", options->kind);
    }
    return {};
}

result<void> take_chat(request& into, const body_facts& body)
{
    // The body as a whole.
    const auto taken =
        take_object(into, body, R"({"model":"...","messages":[{"role":"user","content":"..."}]})");
    if (!taken) {
        return taken;
    }
    static const task_info* const chat = payloads::find_task("chat-completion");
    into.task = chat;

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
    if (auto taken_stream = take_stream(into, body); !taken_stream) {
        return taken_stream;
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
