// `tokens:` and every other secret: from a variable or a file, never from the policy itself.
#include "config/digest.hpp"
#include "config/draft.hpp"
#include "config/file.hpp"
#include "config/keys.hpp"

#include <algorithm>

namespace gw::config {
namespace {

constexpr std::string_view secret_rule =
    "a secret must not stand in this file; write `\"${NAME}\"` for a variable or `\"file:/path\"` for a file";

// A secret goes into a header as it is.
bool is_header_safe(std::string_view text)
{
    return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string in_ticks(std::string_view text)
{
    return '`' + std::string(text) + '`';
}

std::optional<secret_source> read_secret_file(const field& from, std::string_view path)
{
    constexpr std::size_t most = 16U << 10U;
    secret_source made{.file = absolute(from.in(), path)};

    auto read = read_file(made.file, most);
    if (!read) {
        from.report("the file " + in_ticks(made.file) + " " + read.error());
        return std::nullopt;
    }
    std::string text = std::move(*read);
    if (text.ends_with('\n')) {
        text.pop_back();
        if (text.ends_with('\r')) {
            text.pop_back();
        }
    }
    if (text.empty()) {
        from.report("the file " + in_ticks(made.file) + " is empty");
        return std::nullopt;
    }
    if (!is_header_safe(text)) {
        from.report(
            "what " + in_ticks(made.file) +
            " holds is no secret that can be sent: it has a line break, a space or a "
            "character outside ASCII inside"
        );
        return std::nullopt;
    }
    made.value = secret(std::move(text));
    return made;
}

std::optional<secret_source> read_secret_variable(const field& from, std::string_view inside)
{
    const std::size_t dash = inside.find(":-");
    const std::string name(inside.substr(0, dash));
    if (dash != std::string_view::npos && dash + 2 != inside.size()) {
        from.report(std::string(secret_rule) + "; the default of a variable stands in it too");
        return std::nullopt;
    }
    const auto value = from.in().env(name);
    if (dash == std::string_view::npos && (!value || value->empty())) {
        from.report(
            "the variable " + in_ticks(name) + (value ? " is empty" : " is not set") +
            "; set it, or write `${" + name + ":-}` if it may be empty"
        );
        return std::nullopt;
    }
    if (value && !is_header_safe(*value)) {
        from.report(
            "the value of " + in_ticks(name) +
            " is no secret that can be sent: it has a line break, a space or a character outside ASCII inside"
        );
        return std::nullopt;
    }
    return secret_source{.value = secret(value.value_or(std::string())), .file = {}};
}

} // namespace

std::optional<secret_source> read_secret(const field& from)
{
    if (!from.is(node::type::scalar)) {
        from.report_type("`\"${NAME}\"` or `\"file:/path\"`");
        return std::nullopt;
    }
    const std::string_view raw = from.at().text;
    if (raw.starts_with("file:") && raw.size() > 5) {
        const auto path = expand(raw.substr(5), from.in().env);
        if (!path) {
            from.report(path.error());
            return std::nullopt;
        }
        return read_secret_file(from, *path);
    }
    if (raw.starts_with("${") && raw.find('}') == raw.size() - 1) {
        return read_secret_variable(from, raw.substr(2, raw.size() - 3));
    }
    from.report(std::string(secret_rule));
    return std::nullopt;
}

void read_tokens(const field& from, draft& into)
{
    for (const auto& [name, value] : from.members("a map of tokens")) {
        token made{.name = name};
        if (!is_name(name)) {
            value.report(std::string(name_rule));
        }
        const fields map(value, "a map with `secret` and perhaps `bill_to`", keys::token);
        if (const auto at = map.get("secret")) {
            if (auto read = read_secret(*at)) {
                made.value = std::move(read->value);
                made.file = std::move(read->file);
                made.hash = hash_of({made.value.reveal()});
            }
        } else if (map.is_map()) {
            value.report("lacks `secret`, as in `secret: \"${HF_TOKEN}\"`");
        }
        if (const auto at = map.get("bill_to")) {
            if (const auto said = at->text("an organisation's name")) {
                made.bill_to = *said;
                if (!is_name(*said)) {
                    at->report_value(std::string(name_rule));
                }
            }
        }
        into.tokens.push_back(std::move(made));
    }
}

} // namespace gw::config
