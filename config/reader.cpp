#include "config/reader.hpp"

#include "config/suggest.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace gw::config {
namespace {

// A key or value as it may be printed: on one line, not too long, without the password of a URL.
std::string shown(std::string_view raw)
{
    constexpr std::size_t most = 80;
    std::string out;
    const std::size_t scheme = raw.find("://");
    const std::size_t at = raw.rfind('@');
    if (scheme != std::string_view::npos && at != std::string_view::npos && at > scheme) {
        out = std::string(raw.substr(0, scheme + 3)) + "...";
        raw.remove_prefix(at);
    }
    for (const char c : raw.substr(0, most)) {
        const auto byte = static_cast<unsigned char>(c);
        out += byte < 0x20 || byte == 0x7f ? '?' : c;
    }
    return raw.size() > most ? out + "..." : out;
}

bool is_variable_name(std::string_view name)
{
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    return !name.empty() && letter(name.front()) &&
           std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

} // namespace

std::string absolute(const context& in, std::string_view path)
{
    return (std::filesystem::path(in.directory) / path).lexically_normal().string();
}

bool readable(const std::string& path)
{
    std::error_code error;
    return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), R_OK) == 0;
}

parsed<std::string> expand(std::string_view raw, const environment& env)
{
    std::string out;
    while (!raw.empty()) {
        const std::size_t at = raw.find("${");
        if (at == std::string_view::npos) {
            break;
        }
        if (at > 0 && raw[at - 1] == '$') {
            out += raw.substr(0, at - 1);
            out += "${";
            raw.remove_prefix(at + 2);
            continue;
        }
        out += raw.substr(0, at);
        const std::size_t end = raw.find('}', at);
        if (end == std::string_view::npos) {
            return std::unexpected("`${` without its `}`; write `$${` if you mean the characters");
        }
        const std::string_view inside = raw.substr(at + 2, end - at - 2);
        const std::size_t dash = inside.find(":-");
        const std::string_view name = inside.substr(0, dash);
        if (!is_variable_name(name)) {
            return std::unexpected(
                "`${" + shown(inside) + "}` is not a variable; write `${NAME}` or `${NAME:-default}`"
            );
        }
        const auto value = env(name);
        if (dash != std::string_view::npos) {
            out += value && !value->empty() ? std::string_view(*value) : inside.substr(dash + 2);
        } else if (value) {
            out += *value;
        } else {
            const std::string said(name);
            return std::unexpected(
                "the variable `" + said + "` is not set; set it, or write `${" + said + ":-default}`"
            );
        }
        raw.remove_prefix(end + 1);
    }
    return out += raw;
}

void field::report(std::string text) const
{
    in_->problems.push_back({.file = in_->file, .line = line_, .path = shown(path_), .text = std::move(text)}
    );
}

void field::report_value(std::string_view text) const
{
    report('`' + shown(at_->text) + "` is " + std::string(text));
}

void field::report_type(std::string_view expected) const
{
    if (is(node::type::null)) {
        report("holds nothing; expected " + std::string(expected) + ", or leave the key out");
        return;
    }
    report("expected " + std::string(expected) + ", found " + std::string(to_string(at_->is)));
}

std::optional<std::string> field::text(std::string_view expected) const
{
    if (!is(node::type::scalar)) {
        report_type(expected);
        return std::nullopt;
    }
    auto made = expand(at_->text, in_->env);
    if (!made) {
        report(std::move(made).error());
        return std::nullopt;
    }
    return std::move(*made);
}

std::optional<std::chrono::milliseconds> field::duration(std::chrono::milliseconds least) const
{
    const auto value = parse("a duration such as `30s`", &parse_duration);
    if (value && *value < least) {
        report_value("too short; at least `" + std::to_string(least.count()) + "ms`");
        return std::nullopt;
    }
    return value;
}

std::optional<std::uint64_t> field::size(std::uint64_t least, std::uint64_t most) const
{
    const auto value = parse("a size such as `10MiB`", &parse_size);
    if (value && (*value < least || *value > most)) {
        report_value("out of range; " + std::to_string(least) + " to " + std::to_string(most) + " bytes");
        return std::nullopt;
    }
    return value;
}

std::optional<std::uint64_t> field::count(std::uint64_t least, std::uint64_t most) const
{
    const auto value = parse("a whole number", &parse_count);
    if (value && (*value < least || *value > most)) {
        report_value("out of range; " + std::to_string(least) + " to " + std::to_string(most));
        return std::nullopt;
    }
    return value;
}

std::optional<bool> field::flag() const
{
    const auto said = text("`true` or `false`");
    if (!said) {
        return std::nullopt;
    }
    if (*said == "true" || *said == "false") {
        return *said == "true";
    }
    report_value("neither `true` nor `false`");
    return std::nullopt;
}

std::optional<std::size_t> field::choice(std::string_view what, std::span<const std::string_view> names) const
{
    std::string all;
    for (const auto name : names) {
        all += (all.empty() ? "`" : ", `") + std::string(name) + '`';
    }
    const auto said = text("one of " + all);
    if (!said) {
        return std::nullopt;
    }
    const auto found = std::ranges::find(names, std::string_view(*said));
    if (found != names.end()) {
        return static_cast<std::size_t>(found - names.begin());
    }
    report_value("no " + std::string(what) + did_you_mean(*said, names) + " (" + all + ")");
    return std::nullopt;
}

std::vector<field> field::items(std::string_view expected) const
{
    if (!is(node::type::sequence)) {
        report_type(expected);
        return {};
    }
    std::vector<field> out;
    for (std::size_t i = 0; i < at_->items.size(); ++i) {
        out.emplace_back(*in_, at_->items[i], path_ + '[' + std::to_string(i) + ']', at_->items[i].line);
    }
    return out;
}

std::vector<field::named> field::members(std::string_view expected) const
{
    if (!is(node::type::map)) {
        report_type(expected);
        return {};
    }
    std::vector<named> out;
    for (std::size_t i = 0; i < at_->keys.size(); ++i) {
        const auto& key = at_->keys[i];
        out.push_back({.name = key.text, .value = {*in_, at_->items[i], join(path_, key.text), key.line}});
    }
    return out;
}

std::vector<field> field::texts(std::string_view expected) const
{
    std::vector<field> out = items(expected);
    std::erase_if(out, [&](const field& each) {
        const bool bad = !each.is(node::type::scalar);
        if (bad) {
            each.report_type("text");
        }
        return bad;
    });
    return out;
}

fields::fields(const field& of, std::string_view expected, std::span<const std::string_view> known)
    : self_(of), at_(of.is(node::type::map) ? &of.at() : nullptr)
{
    if (at_ == nullptr) {
        of.report_type(expected);
        return;
    }
    for (const auto& key : at_->keys) {
        if (std::ranges::find(known, std::string_view(key.text)) == known.end()) {
            of.in().problems.push_back(
                {.file = of.in().file,
                 .line = key.line,
                 .path = shown(join(of.path(), key.text)),
                 .text = "unknown key" + did_you_mean(key.text, known)}
            );
        }
    }
}

std::optional<field> fields::get(std::string_view key) const
{
    if (at_ == nullptr) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < at_->keys.size(); ++i) {
        if (at_->keys[i].text == key) {
            return field(self_.in(), at_->items[i], join(self_.path(), key), at_->keys[i].line);
        }
    }
    return std::nullopt;
}

void fields::duration(std::string_view key, std::chrono::milliseconds& into, std::chrono::milliseconds least)
    const
{
    if (const auto at = get(key)) {
        into = at->duration(least).value_or(into);
    }
}

void fields::size(std::string_view key, std::uint64_t& into, std::uint64_t least, std::uint64_t most) const
{
    if (const auto at = get(key)) {
        into = at->size(least, most).value_or(into);
    }
}

void fields::count(std::string_view key, std::size_t& into, std::uint64_t least, std::uint64_t most) const
{
    if (const auto at = get(key)) {
        into = at->count(least, most).value_or(into);
    }
}

void fields::flag(std::string_view key, bool& into) const
{
    if (const auto at = get(key)) {
        into = at->flag().value_or(into);
    }
}

void read_way_out(const fields& map, std::string& ca_file, std::string& proxy)
{
    if (const auto at = map.get("ca_file")) {
        if (const auto said = at->text("a file of certificates (PEM)")) {
            ca_file = absolute(at->in(), *said);
            if (!readable(ca_file)) {
                at->report("cannot read `" + ca_file + "`");
            }
        }
    }
    if (const auto at = map.get("proxy")) {
        proxy = at->parse("a proxy such as `http://proxy:3128`", &parse_proxy).value_or("");
    }
}

} // namespace gw::config
