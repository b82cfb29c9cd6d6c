#include "adapters/encode.hpp"

#include "payload/media_type.hpp"
#include "wire/json_walk.hpp"
#include "wire/target.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace gw::adapters {
namespace {

using config::payload_form;
using wire::json_string;
using wire::member_view;
using wire::members_of;
using wire::string_of;

constexpr std::string_view json_type = "application/json";

// The text of a member, as the bytes it was; nullptr: absent, or too long to be looked at.
const member_text* short_member(const request& asked, std::string_view name)
{
    const member_text* found = find_member(asked, name);
    return found != nullptr && !found->text.empty() ? found : nullptr;
}

bool has_member(const request& asked, std::string_view name)
{
    return find_member(asked, name) != nullptr;
}

// The base64 text is the whole of its top-level member (`inputs`, or an older client's `image`), a data:
// prefix aside.
bool is_own_member(const payload& binary)
{
    return binary.where.end + 1 == binary.member.end;
}

bool has_data_prefix(const payload& binary)
{
    return binary.where.begin > binary.member.begin + 1;
}

// A task whose payload comes with a question or the like.
bool has_companion(const task_info& task)
{
    return !task.raw_payload && !task.payload_key.empty() && !task.text_key.empty();
}

bool any_parameters(const request& asked)
{
    if (!asked.parameters.empty()) {
        const auto members = members_of(asked.parameters);
        return !members || !members->empty();
    }
    const member_text* given = find_member(asked, "parameters");
    return given != nullptr && given->text.empty(); // there, but too long to be looked at
}

// The JSON body has the upstream's shape already.
bool passes(const request& asked, const task_info& task, const task_style& style)
{
    const payload& binary = *asked.binary;
    const bool in_inputs = asked.inputs && *asked.inputs == binary.member;
    if (!in_inputs) {
        return false;
    }
    if (!is_own_member(binary)) {
        return has_companion(task); // {"image": ..., "question": ...} are the pipeline's own arguments
    }
    if (has_companion(task) && !style.takes_root_question) {
        return false;
    }
    if (has_data_prefix(binary) && !(style.takes_data_urls && task.input == modality::image)) {
        return false;
    }
    return !(
        style.audio_needs_parameters && task.input == modality::audio && !has_member(asked, "parameters")
    );
}

// {"inputs": base64, "parameters": {...}}. The base64 text is the only range, unless `parameters` is too
// long to be held: then both are, in the order in which they stand.
body_plan base64_json(const request& asked, const task_info* task)
{
    std::string parameters = asked.parameters.empty() ? "{}" : asked.parameters;
    std::string before;
    std::string after;

    // what travels with the payload inside `inputs`: members at the root, or parameters of a query
    if (task != nullptr && has_companion(*task)) {
        std::vector<std::string_view> keys(task->root_keys.begin(), task->root_keys.end());
        if (std::ranges::find(keys, task->text_key) == keys.end()) {
            keys.push_back(task->text_key);
        }
        std::erase(keys, task->payload_key);
        std::string kept;
        for (const auto& each : members_of(parameters).value_or(std::vector<member_view>{})) {
            const bool moves = std::ranges::find(keys, each.key) != keys.end();
            std::string& to = moves ? after : kept;
            to += (moves || !kept.empty() ? "," : "") + json_string(each.key) + ":" + std::string(each.value);
        }
        for (const std::string_view key : keys) {
            if (const member_text* member = short_member(asked, key)) {
                after += "," + json_string(key) + ":" + std::string(member->text);
            }
        }
        parameters = "{" + kept + "}";
        before = "{" + json_string(task->payload_key) + ":";
        after += "}";
    }

    const member_text* given = find_member(asked, "parameters");
    const bool too_long = given != nullptr && given->text.empty();
    body_plan plan;
    append_text(plan, "{");
    if (too_long && given->where.begin < asked.binary->where.begin) {
        append_text(plan, R"("parameters":)");
        plan.pieces.push_back(piece::copy(given->where));
        append_text(plan, ",");
    }
    append_text(plan, R"("inputs":)" + before);
    append_base64(plan, asked);
    append_text(plan, after);
    if (!too_long) {
        append_text(plan, R"(,"parameters":)" + parameters);
    } else if (given->where.begin > asked.binary->where.begin) {
        append_text(plan, R"(,"parameters":)");
        plan.pieces.push_back(piece::copy(given->where));
    }
    append_text(plan, "}");
    return plan;
}

// A string that would come out of a query as something else.
bool reads_like_a_value(std::string_view text)
{
    const auto same = [&](std::string_view word) {
        return text.size() == word.size() && std::ranges::equal(text, word, [](char a, char b) {
                   return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
               });
    };
    const bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    return digits || same("true") || same("false");
}

std::unexpected<failure> needs_task(std::string_view what)
{
    return refuse(
        code::unknown_task,
        "The task of this model is not known, and " + std::string(what) +
            ". Name the task: `task:` at the model in the policy, `\"task\"` beside \"model\", ?task= beside "
            "raw bytes, or "
            "/models/{id}/pipeline/{task}."
    );
}

result<encoded> raw_or_base64(const request& asked, const target& to, const task_style& style)
{
    const task_info* task = to.task;
    const payload& binary = *asked.binary;
    const payload_form form = to.to->payload;
    const bool json_passes =
        !asked.raw && (task != nullptr ? passes(asked, *task, style) : is_own_member(binary) && asked.inputs);

    // may it go as the whole body, the parameters in the query?
    const std::string type = style.spelling(binary.media_type);
    const bool typed = !type.empty() || (style.takes_untyped && binary.media_type.empty());
    const bool parameters = any_parameters(asked);
    std::optional<std::string> query = std::string{};
    if (parameters) {
        const bool allowed = style.query_parameters || form == payload_form::binary;
        query = allowed && !asked.parameters.empty() ? query_of(asked.parameters) : std::nullopt;
    }
    const bool as_bytes = typed && query && (task == nullptr || task->raw_payload);

    // as it came, if that is the upstream's shape and the policy does not say otherwise
    if (json_passes && !(form == payload_form::binary && as_bytes && task != nullptr)) {
        body_plan same = with_model(asked, to.model);
        const bool untouched = same.pass_through();
        return encoded{
            untouched ? encoding::pass_through : encoding::json, std::string(json_type), {}, std::move(same)
        };
    }
    if (task == nullptr && !asked.raw) {
        return needs_task("its payload would have to be rearranged for the upstream");
    }
    if (as_bytes && form != payload_form::base64) {
        return encoded{
            asked.raw ? encoding::pass_through : encoding::binary, type, std::move(*query), binary_body(asked)
        };
    }
    if (task == nullptr) {
        return needs_task("these bytes would have to be sent as base64 JSON to the upstream");
    }
    return encoded{encoding::base64_json, std::string(json_type), {}, base64_json(asked, task)};
}

// The JSON schema of a response_format in any of the forms; empty: it has none.
std::string_view schema_of(std::string_view format, std::string& name)
{
    using wire::member_of;
    const auto type = string_of(member_of(format, "type"));
    if (type != "json_schema" && type != "json_object" && type != "json") {
        return {};
    }
    std::string_view schema = member_of(format, "json_schema");
    if (!schema.empty()) { // OpenAI's
        name = std::string(member_of(schema, "name"));
        schema = member_of(schema, "schema");
    } else {
        schema = member_of(format, "schema");
        schema = schema.empty() ? member_of(format, "value") : schema;
    }
    return schema.starts_with('{') ? schema : std::string_view{};
}

// response_format in this form; nullopt: it has it already, or there is nothing to translate.
std::optional<std::string> translated_format(std::string_view format, schema_form form)
{
    std::string name;
    const std::string schema(schema_of(format, name));
    const auto has = [&](std::string_view key) { return !wire::member_of(format, key).empty(); };
    if (schema.empty()) {
        return std::nullopt;
    }
    switch (form) {
    case schema_form::openai:
        if (has("json_schema")) {
            return std::nullopt;
        }
        return R"({"type":"json_schema","json_schema":{"name":"response","schema":)" + schema + "}}";
    case schema_form::tgi:
        return has("value") ? std::nullopt
                            : std::optional(R"({"type":"json_object","value":)" + schema + "}");
    case schema_form::json_object:
        return R"({"type":"json_object","schema":)" + schema + "}";
    case schema_form::bare_schema:
        return R"({"type":"json_schema","schema":)" + schema + "}";
    }
    return std::nullopt;
}

// A range of the body and what stands there instead.
struct replacement
{
    byte_range where; // empty: an insertion
    std::string text;
};

body_plan replace(const request& asked, std::vector<replacement> changes)
{
    std::ranges::sort(changes, {}, [](const replacement& each) { return each.where.begin; });
    body_plan plan;
    std::uint64_t at = 0;
    for (replacement& each : changes) {
        if (each.where.begin > at) {
            plan.pieces.push_back(piece::copy({at, each.where.begin}));
        }
        append_text(plan, std::move(each.text));
        at = each.where.end;
    }
    if (asked.body_size > at || plan.pieces.empty()) {
        plan.pieces.push_back(piece::copy({at, asked.body_size}));
    }
    return plan;
}

// What has to change for the body to name this model; nullopt: nothing. Where no door reads a model from the
// body (Hugging Face paths), a `model` in it is somebody's own.
std::optional<replacement> model_change(const request& asked, std::string_view model)
{
    if (!asked.model_at) {
        return std::nullopt;
    }
    const member_text* there = find_member(asked, "model");
    if (there != nullptr && string_of(there->text) == model) {
        return std::nullopt;
    }
    return replacement{*asked.model_at, json_string(model)};
}

// The same where the body has to name one. REQUIRES it has a member
std::optional<replacement> model_named(const request& asked, std::string_view model)
{
    if (asked.model_at || has_member(asked, "model")) {
        return model_change(asked, model);
    }
    // behind the last member: the one place that is known to be between two of them
    const auto last =
        std::ranges::max_element(asked.members, {}, [](const member_text& m) { return m.where.end; });
    return replacement{{last->where.end, last->where.end}, R"(,"model":)" + json_string(model)};
}

// A chat made of `inputs`: text becomes the user's message, a list is the messages.
result<encoded> chat_of_inputs(const request& asked, std::string_view model)
{
    const member_text* inputs = short_member(asked, "inputs");
    if (inputs == nullptr) {
        return refuse(
            code::wrong_modality, "A chat needs `messages`, or `inputs` that is a text or a list of messages."
        );
    }
    std::string body = R"({"model":)" + json_string(model) + R"(,"messages":)";
    if (inputs->text.front() == '[') {
        body += inputs->text;
    } else if (inputs->text.front() == '"') {
        body += R"([{"role":"user","content":)" + std::string(inputs->text) + "}]";
    } else {
        return refuse(code::wrong_modality, "`inputs` of a chat is a text, or a list of messages.");
    }
    for (const auto& each : members_of(asked.parameters).value_or(std::vector<member_view>{})) {
        if (each.key != "model" && each.key != "messages" && each.key != "stream") {
            body += "," + json_string(each.key) + ":" + std::string(each.value);
        }
    }
    body += asked.stream ? R"(,"stream":true})" : "}";
    encoded made{.as = encoding::json, .content_type = std::string(json_type)};
    append_text(made.body, std::move(body));
    return made;
}

} // namespace

std::string_view to_string(encoding value)
{
    switch (value) {
    case encoding::pass_through:
        return "pass_through";
    case encoding::binary:
        return "binary";
    case encoding::base64_json:
        return "base64_json";
    case encoding::custom_template:
        return "custom_template";
    case encoding::json:
        return "json";
    }
    return "pass_through";
}

bool wants_chat(const request& asked, const target& to)
{
    return is_chat(asked.at) || (to.task != nullptr && to.task->is_chat());
}

void append_text(body_plan& to, std::string text)
{
    if (text.empty()) {
        return;
    }
    if (!to.pieces.empty() && to.pieces.back().what == piece::how::literal) {
        to.pieces.back().text += text;
        to.pieces.back().length = to.pieces.back().text.size();
    } else {
        to.pieces.push_back(piece::literal(std::move(text)));
    }
}

void append_base64(body_plan& to, const request& asked, std::string prefix)
{
    const payload& binary = *asked.binary;
    append_text(to, "\"" + std::move(prefix));
    to.pieces.push_back(
        binary.as == payload::form::raw ? piece::encode(binary.where) : piece::copy(binary.where)
    );
    append_text(to, "\"");
}

body_plan binary_body(const request& asked)
{
    const payload& binary = *asked.binary;
    body_plan plan;
    plan.pieces.push_back(
        binary.as == payload::form::raw ? piece::copy(binary.where)
                                        : piece::decode(binary.where, binary.escaped, binary.size)
    );
    return plan;
}

body_plan with_model(const request& asked, std::string_view model)
{
    auto change = model_change(asked, model);
    return change ? replace(asked, {std::move(*change)}) : replace(asked, {});
}

body_plan naming_model(const request& asked, std::string_view model)
{
    auto change = model_named(asked, model);
    return change ? replace(asked, {std::move(*change)}) : replace(asked, {});
}

std::optional<std::string> query_of(std::string_view parameters)
{
    const auto members = members_of(parameters);
    if (!members) {
        return std::nullopt;
    }
    std::string query;
    for (const auto& each : *members) {
        const auto text = string_of(each.value);
        const bool digits = std::ranges::all_of(each.value, [](char c) { return c >= '0' && c <= '9'; });
        const bool flag = each.value == "true" || each.value == "false";
        if (text ? reads_like_a_value(*text) : !digits && !flag) {
            return std::nullopt;
        }
        query += query.empty() ? "" : "&";
        query += wire::percent_encode_segment(each.key) + "=" +
                 wire::percent_encode_segment(text ? std::string_view(*text) : each.value);
    }
    return query;
}

result<encoded> encode_task(const request& asked, const target& to, const task_style& style)
{
    if (is_openai_task(asked.at)) {
        return in_task_words(asked, to, style);
    }

    // bytes where text or JSON belongs
    const bool takes_bytes = to.task == nullptr || to.task->binary_input() || to.task->input == modality::any;
    if (asked.raw && !takes_bytes) {
        return refuse(
            code::wrong_modality,
            "The task " + std::string(to.task->name) +
                " takes no bytes: send {\"inputs\":...} with Content-Type: application/json."
        );
    }
    if (asked.binary && takes_bytes) {
        return raw_or_base64(asked, to, style);
    }
    if (asked.raw) {
        return refuse(code::wrong_modality, "The body holds no payload.");
    }
    if (to.task != nullptr) {
        if (auto body = rearranged(asked, *to.task, style)) {
            return encoded{encoding::json, std::string(json_type), {}, std::move(*body)};
        }
    }
    body_plan same = with_model(asked, to.model);
    const bool untouched = same.pass_through();
    return encoded{
        untouched ? encoding::pass_through : encoding::json, std::string(json_type), {}, std::move(same)
    };
}

result<encoded> encode_chat(const request& asked, std::string_view model, schema_form form)
{
    if (asked.raw) {
        return refuse(
            code::wrong_modality,
            "A chat takes no bytes: send {\"messages\":[...]} with Content-Type: application/json."
        );
    }
    if (!has_member(asked, "messages")) {
        return chat_of_inputs(asked, model);
    }

    std::vector<replacement> changes;
    if (auto change = model_named(asked, model)) {
        changes.push_back(std::move(*change));
    }
    if (const member_text* format = short_member(asked, "response_format")) {
        if (auto translated = translated_format(format->text, form)) {
            changes.push_back({format->where, std::move(*translated)});
        }
    }

    body_plan body = replace(asked, std::move(changes));
    const bool untouched = body.pass_through();
    return encoded{
        untouched ? encoding::pass_through : encoding::json, std::string(json_type), {}, std::move(body)
    };
}

std::string path_of(const config::upstream& to, std::string_view route)
{
    const std::string_view behind = to.path.empty() ? route : std::string_view(to.path);
    std::string path;
    path.reserve(to.at.base_path.size() + behind.size() + 1);
    path.append(to.at.base_path).append(behind);
    if (path.empty()) {
        path = '/';
    }
    return path;
}

std::string openai_path(const config::upstream& to, std::string_view route)
{
    const std::string_view base = to.at.base_path;
    if (base.ends_with(route)) {
        return path_of(to, "");
    }
    return path_of(to, base.ends_with("/v1") ? std::string(route) : "/v1" + std::string(route));
}

} // namespace gw::adapters
