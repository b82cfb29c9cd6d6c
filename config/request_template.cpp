// `request:` of the engine `custom`: YAML becomes JSON text, cut at its placeholders.
#include "config/draft.hpp"
#include "config/suggest.hpp"

#include <algorithm>
#include <array>

namespace gw::config {
namespace {

using what = template_part::what;

struct placeholder
{
    std::string_view name;
    what is;
};

constexpr std::array placeholders{
    placeholder{"$inputs", what::inputs},
    placeholder{"$base64", what::base64},
    placeholder{"$data_url", what::data_url},
    placeholder{"$parameters", what::parameters},
    placeholder{"$model", what::model},
};
constexpr std::array<std::string_view, 5> names{"$inputs", "$base64", "$data_url", "$parameters", "$model"};

bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Source: RFC 8259 section 6.
bool is_json_number(std::string_view text)
{
    std::size_t i = 0;
    const auto digits = [&] {
        const std::size_t from = i;
        while (i < text.size() && text[i] >= '0' && text[i] <= '9') {
            ++i;
        }
        return i - from;
    };
    if (i < text.size() && text[i] == '-') {
        ++i;
    }
    const std::size_t whole = i;
    const std::size_t count = digits();
    if (count == 0 || (count > 1 && text[whole] == '0')) {
        return false;
    }
    if (i < text.size() && text[i] == '.') {
        ++i;
        if (digits() == 0) {
            return false;
        }
    }
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        ++i;
        if (i < text.size() && (text[i] == '+' || text[i] == '-')) {
            ++i;
        }
        if (digits() == 0) {
            return false;
        }
    }
    return i == text.size();
}

std::string json_string(std::string_view text)
{
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += digits[byte >> 4U];
            out += digits[byte & 15U];
        } else {
            out += c;
        }
    }
    return out += '"';
}

class writer
{
public:
    void write(const field& from)
    {
        switch (from.at().is) {
        case node::type::null:
            text_ += "null";
            break;
        case node::type::scalar:
            scalar(from);
            break;
        case node::type::sequence:
            text_ += '[';
            for (std::size_t i = 0; const auto& each : from.items("a list")) {
                text_ += i++ == 0 ? "" : ",";
                write(each);
            }
            text_ += ']';
            break;
        case node::type::map:
            text_ += '{';
            for (std::size_t i = 0; const auto& [name, value] : from.members("a map")) {
                text_ += i++ == 0 ? "" : ",";
                text_ += json_string(name);
                text_ += ':';
                write(value);
            }
            text_ += '}';
            break;
        }
    }

    std::vector<template_part> finish()
    {
        flush();
        return std::move(parts_);
    }
    [[nodiscard]] int payloads() const { return payloads_; }
    [[nodiscard]] bool good() const { return good_; }

private:
    void scalar(const field& from)
    {
        const auto said = from.text("a value");
        if (!said) {
            good_ = false;
            return;
        }
        if (said->starts_with("$$")) {
            text_ += json_string(std::string_view(*said).substr(1));
            return;
        }
        if (said->size() > 1 && said->front() == '$' && is_letter((*said)[1])) {
            place(from, *said);
            return;
        }
        if (holds_placeholder(*said)) {
            from.report("a placeholder must be the whole value, as in `image: $base64`");
            good_ = false;
            return;
        }
        const bool literal = *said == "true" || *said == "false" || *said == "null" || is_json_number(*said);
        text_ += from.at().plain && literal ? *said : json_string(*said);
    }

    void place(const field& from, std::string_view name)
    {
        const auto found = std::ranges::find(placeholders, name, &placeholder::name);
        if (found == placeholders.end()) {
            from.report_value(
                "no placeholder" + did_you_mean(name, names) +
                " (`$inputs`, `$base64`, `$data_url`, `$parameters`, `$model`; `$$` begins a text with `$`)"
            );
            good_ = false;
            return;
        }
        if (found->is == what::inputs || found->is == what::base64 || found->is == what::data_url) {
            ++payloads_;
        }
        flush();
        parts_.push_back({.is = found->is, .text = {}});
    }

    // `data:image/png;base64,$base64`, but not `$base64url`.
    [[nodiscard]] static bool holds_placeholder(std::string_view text)
    {
        return std::ranges::any_of(names, [&](std::string_view name) {
            const std::size_t at = text.find(name);
            const std::size_t end = at + name.size();
            return at != std::string_view::npos && (end == text.size() || !is_letter(text[end]));
        });
    }

    void flush()
    {
        if (!text_.empty()) {
            parts_.push_back({.is = what::literal, .text = std::move(text_)});
            text_.clear();
        }
    }

    std::vector<template_part> parts_;
    std::string text_; // of the literal that is being written
    int payloads_ = 0;
    bool good_ = true;
};

} // namespace

std::optional<std::vector<template_part>> read_template(const field& from)
{
    writer out;
    out.write(from);
    if (!out.good()) {
        return std::nullopt;
    }
    if (out.payloads() != 1) {
        from.report(
            out.payloads() == 0
                ? "holds none of `$inputs`, `$base64`, `$data_url`, so that nothing of a request would be "
                  "sent"
                : "holds more than one of `$inputs`, `$base64`, `$data_url`; the payload is sent once"
        );
        return std::nullopt;
    }
    return out.finish();
}

} // namespace gw::config
