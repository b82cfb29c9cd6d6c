#include "wire/field.hpp"

#include "wire/bytes.hpp"

#include <algorithm>

namespace gw::wire {
namespace {

std::string_view trimmed(std::string_view text)
{
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

bool all_of_class(std::string_view text, std::uint8_t wanted)
{
    return std::ranges::all_of(text, [wanted](char c) { return (bytes::class_of(c) & wanted) != 0; });
}

bool valid_port(std::string_view port)
{
    if (port.empty() || port.size() > 5 || !all_of_class(port, bytes::digit)) {
        return false;
    }
    int value = 0;
    for (const char c : port) {
        value = value * 10 + (c - '0');
    }
    return value <= 65535;
}

} // namespace

bool same_name(std::string_view a, std::string_view b)
{
    return a.size() == b.size() &&
           std::ranges::equal(a, b, [](char x, char y) { return bytes::lower(x) == bytes::lower(y); });
}

std::string_view find_field(const std::vector<field>& fields, std::string_view name)
{
    const auto found =
        std::ranges::find_if(fields, [name](const field& each) { return same_name(each.name, name); });
    return found == fields.end() ? std::string_view{} : found->value;
}

bool list_holds(std::string_view list, std::string_view token)
{
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view item = list.substr(0, comma);
        if (same_name(trimmed(item.substr(0, item.find(';'))), token)) {
            return true;
        }
        list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    }
    return false;
}

bool valid_name(std::string_view name)
{
    return !name.empty() && all_of_class(name, bytes::token);
}

bool valid_value(std::string_view value)
{
    const char* const begin = value.data();
    const char* const end = begin + value.size();
    const char* at = bytes::find_control(begin, end);
    while (at != end && *at == '\t') {
        at = bytes::find_control(at + 1, end);
    }
    return at == end && trimmed(value).size() == value.size();
}

bool valid_authority(std::string_view authority)
{
    std::string_view rest;
    if (authority.starts_with('[')) {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) {
            return false;
        }
        const std::string_view inside = authority.substr(1, close - 1);
        const bool address = inside.find(':') != std::string_view::npos && inside.size() <= 45 &&
                             std::ranges::all_of(inside, [](char c) {
                                 return c == ':' || c == '.' || bytes::hex_value(c) >= 0;
                             });
        if (!address) {
            return false;
        }
        rest = authority.substr(close + 1);
    } else {
        const std::size_t colon = authority.find(':');
        const std::string_view name = authority.substr(0, colon);
        if (name.empty() || name.size() > 255 || !all_of_class(name, bytes::host)) {
            return false;
        }
        rest = colon == std::string_view::npos ? std::string_view{} : authority.substr(colon);
    }
    return rest.empty() || (rest.front() == ':' && valid_port(rest.substr(1)));
}

} // namespace gw::wire
