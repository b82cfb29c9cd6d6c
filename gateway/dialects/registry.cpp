// Which method and path lead to which door of which dialect.
#include "dialects/dialect.hpp"
#include "dialects/tongues.hpp"

#include "wire/target.hpp"

#include <boost/container/small_vector.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

namespace gw::dialects {
namespace {

using segments = boost::container::small_vector<std::string_view, 8>;

// The segments of a path, still encoded. One slash at the end says nothing: some clients are configured with
// it.
segments split(std::string_view path)
{
    segments parts;
    if (path.starts_with('/')) {
        path.remove_prefix(1);
    }
    if (path.ends_with('/')) {
        path.remove_suffix(1);
    }
    while (!path.empty()) {
        const auto end = path.find('/');
        parts.push_back(path.substr(0, end));
        path = end == std::string_view::npos ? std::string_view{} : path.substr(end + 1);
    }
    return parts;
}

bool ends_with(const segments& parts, std::initializer_list<std::string_view> tail)
{
    return parts.size() >= tail.size() &&
           std::equal(tail.begin(), tail.end(), parts.end() - std::ssize(tail));
}

bool is(const segments& parts, std::initializer_list<std::string_view> all)
{
    return parts.size() == all.size() && ends_with(parts, all);
}

// A model id from its segments: `name`, `namespace/name`, or one segment in which `%2F` stands for the slash.
// Empty: these segments are no id.
std::string model_of(const segments& parts)
{
    std::string id;
    for (const auto part : parts) {
        auto text = wire::percent_decode(part);
        if (!text) {
            return {};
        }
        if (!id.empty()) {
            id += '/';
        }
        id += *text;
    }
    return std::ranges::count(id, '/') <= 1 && !id.starts_with('/') && !id.ends_with('/') ? id
                                                                                          : std::string{};
}

// What stands behind `/models/` on Hugging Face's paths. No tongue: nothing is served there.
door_match below_models(segments parts)
{
    door_match found{.tongue = &huggingface(), .at = door::hf_task};
    if (parts.size() > 3 && ends_with(parts, {"v1", "chat", "completions"})) {
        found.at = door::hf_chat;
        parts.resize(parts.size() - 3);
    } else if (parts.size() > 2 && ends_with(parts, {"v1", "completions"})) {
        found.at = door::hf_completions;
        parts.resize(parts.size() - 2);
    } else if (parts.size() > 2 && ends_with(parts, {"v1", "embeddings"})) {
        found.at = door::hf_embeddings;
        parts.resize(parts.size() - 2);
    } else if (parts.size() > 2 && parts[parts.size() - 2] == "pipeline") {
        found.task = wire::percent_decode(parts.back()).value_or("");
        parts.resize(parts.size() - 2);
    }
    found.model = model_of(parts);
    return found.model.empty() ? door_match{} : found;
}

// The door of a path, whatever the method. No tongue: there is none.
door_match match(const segments& parts)
{
    if (is(parts, {"v1", "inference"})) {
        return {.tongue = &native(), .at = door::native_inference};
    }
    if (is(parts, {"v1", "chat", "completions"})) {
        return {.tongue = &openai(), .at = door::openai_chat};
    }
    if (is(parts, {"v1", "completions"})) {
        return {.tongue = &openai(), .at = door::openai_completions};
    }
    if (is(parts, {"v1", "embeddings"})) {
        return {.tongue = &openai(), .at = door::openai_embeddings};
    }
    if (is(parts, {"v1", "images", "generations"})) {
        return {.tongue = &openai(), .at = door::openai_images};
    }
    if (is(parts, {"v1", "audio", "speech"})) {
        return {.tongue = &openai(), .at = door::openai_speech};
    }
    if (is(parts, {"v1", "models"})) {
        return {.tongue = &openai(), .at = door::openai_models};
    }
    if (parts.size() > 2 && parts[0] == "v1" && parts[1] == "models") {
        door_match found{.tongue = &openai(), .at = door::openai_models};
        found.model = model_of(segments(parts.begin() + 2, parts.end()));
        return found.model.empty() ? door_match{} : found;
    }
    if (is(parts, {"health"})) {
        return {.tongue = &native(), .at = door::health};
    }

    // Hugging Face's paths, as the router has them and as the retired host had them.
    const std::ptrdiff_t prefix = !parts.empty() && parts[0] == "hf-inference" ? 1 : 0;
    const segments rest(parts.begin() + prefix, parts.end());
    if (rest.size() > 1 && rest[0] == "models") {
        return below_models(segments(rest.begin() + 1, rest.end()));
    }
    // The order of clients before 2025.
    if (rest.size() > 2 && rest[0] == "pipeline") {
        door_match found{.tongue = &huggingface(), .at = door::hf_task};
        found.task = wire::percent_decode(rest[1]).value_or("");
        found.model = model_of(segments(rest.begin() + 2, rest.end()));
        return found.model.empty() ? door_match{} : found;
    }
    return {};
}

bool is_read(door at)
{
    return at == door::openai_models || at == door::health;
}

std::unexpected<failure> no_door(std::string_view path, const segments& parts)
{
    constexpr std::size_t longest = 100;
    std::string text = "Nothing is served at " + std::string(path.substr(0, longest));
    text += path.size() > longest ? "... " : ". ";
    if (is(parts, {"models"})) {
        text += "GET /v1/models lists the models. ";
    } else if (ends_with(parts, {"completions"}) || ends_with(parts, {"embeddings"}) ||
               ends_with(parts, {"v1", "models"})) {
        text += "The base URL of an OpenAI SDK ends in /v1, that of a Hugging Face client in /models/{id}. ";
    } else if (parts.size() > 2 && (parts[0] == "models" || parts[0] == "hf-inference") &&
               std::ranges::find(parts, "v1") == parts.end()) {
        text += "A model id is `name` or `namespace/name`. ";
    }
    text += "Served are POST /v1/inference, POST /models/{id}, /models/{id}/pipeline/{task} and, below "
            "/models/{id}, /v1/chat/completions, /v1/completions and /v1/embeddings (all also below "
            "/hf-inference); POST /v1/chat/completions, /v1/completions, /v1/embeddings, "
            "/v1/images/generations and /v1/audio/speech; GET /v1/models, GET /v1/models/{id} and GET "
            "/health.";
    return refuse(code::no_such_door, std::move(text));
}

} // namespace

result<door_match> find_door(std::string_view path, wire::method verb)
{
    const segments parts = split(path);
    door_match found = match(parts);
    if (found.tongue == nullptr) {
        return no_door(path, parts);
    }

    const bool reads = is_read(found.at);
    const bool fits =
        reads ? verb == wire::method::get || verb == wire::method::head : verb == wire::method::post;
    if (!fits) {
        auto refusal = refuse(
            code::method_not_allowed,
            "This path does not take " + std::string(wire::to_string(verb)) + ". Use " +
                (reads ? "GET" : "POST") + '.'
        );
        refusal.error().allow = reads ? "GET, HEAD" : "POST";
        refusal.error().detail = refusal.error().allow;
        return refusal;
    }
    return found;
}

} // namespace gw::dialects
