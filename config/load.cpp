#include "config/load.hpp"

#include "config/digest.hpp"
#include "config/draft.hpp"
#include "config/file.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <tuple>
#include <unistd.h>

namespace gw::config {
namespace {

constexpr std::string_view without_file = R"(
tokens: { hf: { secret: "${HF_TOKEN:-}" } }
upstreams: { router: { kind: serverless, token: hf } }
models: { "*": { route: [router] } }
hub: { token: hf }
)";

std::string directory_of(std::string_view file)
{
    std::error_code error;
    const auto whole = std::filesystem::absolute(std::filesystem::path(file), error);
    return whole.parent_path().lexically_normal().string();
}

loaded load(std::string_view yaml, std::string_view file_name, const environment& env, const overrides& flags)
{
    tree read = read_tree(yaml, file_name);
    context in{.file = std::string(file_name), .directory = directory_of(file_name), .env = env};
    in.problems = std::move(read.problems);

    draft made;
    if (read.whole && read.root.is == node::type::null) {
        in.problems.push_back(
            {.file = in.file,
             .line = 0,
             .path = {},
             .text = "is empty; a policy needs `upstreams` and `models`"}
        );
    } else if (read.whole) {
        const field root(in, read.root, "", read.root.line);
        made = validate(root, flags);
    }
    if (!in.problems.empty()) {
        const auto place = [](const problem& each) { return std::tie(each.line, each.path, each.text); };
        std::ranges::sort(in.problems, {}, place);
        const auto again = std::ranges::unique(in.problems, {}, place);
        in.problems.erase(again.begin(), again.end());
        return std::unexpected(std::move(in.problems));
    }
    return build(std::move(made), std::string(file_name));
}

// Somebody's token, pasted where it does not belong, is not told on: `hf_` and 16 or more letters and digits.
std::string without_tokens(std::string text)
{
    constexpr std::string_view mark = "hf_";
    const auto alphanumeric = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
        at += mark.size();
        const auto end =
            std::find_if_not(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), alphanumeric);
        const auto size = static_cast<std::size_t>(end - text.begin()) - at;
        if (size >= 16) {
            text.replace(at, size, "...");
        }
    }
    return text;
}

} // namespace

std::string to_string(const problem& what)
{
    std::string out = what.file;
    if (what.line > 0) {
        out += (out.empty() ? "line " : ":") + std::to_string(what.line);
    }
    for (const auto& part : {what.path, what.text}) {
        if (!part.empty()) {
            out += (out.empty() ? "" : ": ") + without_tokens(part);
        }
    }
    return out;
}

environment process_environment()
{
    std::map<std::string, std::string, std::less<>> copy;
    for (char** each = ::environ; each != nullptr && *each != nullptr; ++each) {
        const std::string_view line(*each);
        const std::size_t equals = line.find('=');
        if (equals != std::string_view::npos) {
            copy.emplace(line.substr(0, equals), line.substr(equals + 1)); // getenv() takes the first, too
        }
    }
    return [copy = std::move(copy)](std::string_view name) -> std::optional<std::string> {
        const auto at = copy.find(name);
        return at != copy.end() ? std::optional<std::string>(at->second) : std::nullopt;
    };
}

void hide_secrets(const settings& now)
{
    const auto named_so = [](std::string_view name) {
        return std::ranges::any_of(
            std::array<std::string_view, 4>{"TOKEN", "SECRET", "PASSWORD", "API_KEY"},
            [&](std::string_view word) { return name.contains(word); }
        );
    };
    for (char** each = ::environ; each != nullptr && *each != nullptr; ++each) {
        const std::string_view line(*each);
        const std::size_t equals = std::min(line.find('='), line.size() - 1);
        const std::string_view value = line.substr(equals + 1);
        const bool used = std::ranges::any_of(
                              now.tokens, [&](const auto& token) { return token->value.reveal() == value; }
                          ) ||
                          (!now.admin_key_digest.empty() && sha256(value) == now.admin_key_digest);
        if (!value.empty() && (used || named_so(line.substr(0, equals)))) {
            ::OPENSSL_cleanse(*each + equals + 1, value.size());
        }
    }
}

loaded load_file(const std::string& path, const environment& env, const overrides& flags)
{
    auto text = read_file(path, longest_policy);
    if (!text) {
        return std::unexpected(
            std::vector<problem>{{.file = path, .line = 0, .path = {}, .text = std::move(text).error()}}
        );
    }
    return load_text(*text, path, env, flags);
}

loaded
load_text(std::string_view yaml, std::string_view file_name, const environment& env, const overrides& flags)
{
    return load(yaml, file_name, env, flags);
}

loaded load_default(const environment& env, const overrides& flags)
{
    auto made = load(without_file, "", env, flags);
    if (!made) {
        for (auto& each : made.error()) {
            each.line = 0; // no file that a person could look at
        }
    }
    return made;
}

} // namespace gw::config
