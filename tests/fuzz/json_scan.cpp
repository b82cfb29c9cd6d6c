// Any split gives the same index or the same failure; simdjson's DOM agrees about what is JSON, but for
// numbers beyond its types, escapes of lone surrogates and what our limits refuse; every span holds what it
// says.
#include "wire/json_scan.hpp"

#include "property.hpp"
#include "wire/json_text.hpp"

#include <simdjson.h>

#include <algorithm>
#include <set>
#include <string>

using namespace gw;
using namespace gw::wire;

namespace {

constexpr json_limits limits{
    .depth = 12, .tokens = 200, .members = 30, .long_string = 16, .plain_bytes = 400, .long_bytes = 1500
};

std::string text_of(const result<json_index>& index)
{
    if (!index) {
        return std::string{to_string(index.error().what)} + ": " + index.error().text;
    }
    std::string out;
    const auto add = [&out](auto... values) { ((out += std::to_string(values), out += ' '), ...); };
    add(static_cast<int>(index->root), index->where.begin, index->where.end);
    for (const json_member& each : index->members) {
        out += each.key;
        add(static_cast<int>(each.kind), each.where.begin, each.where.end, static_cast<int>(each.holds_long));
    }
    for (const json_long_string& each : index->longs) {
        out += each.path + "|" + each.head + "|" + each.raw_head;
        add(each.where.begin,
            each.where.end,
            each.escapes_removed,
            static_cast<int>(each.escaped),
            static_cast<int>(each.padding),
            each.not_base64.value_or(0));
    }
    return out;
}

result<json_index> scan(std::string_view input, std::size_t size)
{
    json_scanner scanner{limits};
    in_blocks(input, size, [&](std::string_view block) { return scanner.feed(block).has_value(); });
    return scanner.finish();
}

// What simdjson's DOM refuses although RFC 8259 allows it.
bool excused(simdjson::error_code why, std::string_view input)
{
    const bool surrogate =
        input.find("\\ud") != std::string_view::npos || input.find("\\uD") != std::string_view::npos;
    return why == simdjson::NUMBER_ERROR || (why == simdjson::STRING_ERROR && surrogate);
}

// A pointer leads to the first of equal keys, so it says which string is meant only where keys are unique.
bool unique_keys(simdjson::dom::element value)
{
    if (simdjson::dom::array array; !value.get(array)) {
        return std::ranges::all_of(array, unique_keys);
    }
    simdjson::dom::object object;
    if (value.get(object)) {
        return true;
    }
    std::set<std::string_view> seen;
    for (const auto& [key, inner] : object) {
        if (!seen.insert(key).second || !unique_keys(inner)) {
            return false;
        }
    }
    return true;
}

json_kind kind_of(simdjson::dom::element value)
{
    using simdjson::dom::element_type;
    switch (value.type()) {
    case element_type::OBJECT:
        return json_kind::object;
    case element_type::ARRAY:
        return json_kind::array;
    case element_type::STRING:
        return json_kind::string;
    case element_type::BOOL:
        return value.get_bool().value_unsafe() ? json_kind::true_ : json_kind::false_;
    case element_type::NULL_VALUE:
        return json_kind::null;
    default:
        return json_kind::number;
    }
}

void check_simdjson(const json_index& index, std::string_view input)
{
    static simdjson::dom::parser parser;
    simdjson::dom::element root;
    const simdjson::padded_string padded{input};
    if (const auto why = parser.parse(padded).get(root)) {
        require(excused(why, input), "simdjson accepts it too");
        return;
    }
    static simdjson::dom::parser second;
    for (const json_long_string& each : index.longs) {
        std::string_view theirs;
        const simdjson::padded_string part{input.substr(each.where.begin - 1, each.where.size() + 2)};
        require(!second.parse(part).get(theirs), "a span is a string");
        require(theirs.size() == each.where.size() - each.escapes_removed, "the size after unescaping");
        const std::size_t other = theirs.find_last_not_of('=');
        const std::size_t equals =
            other == std::string_view::npos ? theirs.size() : theirs.size() - other - 1;
        require(std::min<std::size_t>(equals, 3) == each.padding, "the padding");
        require(theirs.starts_with(each.head), "the head");
        require(input.substr(each.where.begin, each.where.size()).starts_with(each.raw_head), "the raw head");
        require(each.head.size() == theirs.size() || each.where.size() > 240, "the head is whole");

        std::string_view there;
        const auto missing = each.path.empty() ? root.get(there) : root.at_pointer(each.path).get(there);
        if (unique_keys(root)) {
            require(!missing && there == theirs, "the path leads to the string");
        }
    }
    const simdjson::padded_string alone_text{input.substr(index.where.begin, index.where.size())};
    simdjson::dom::element alone_root;
    require(!second.parse(alone_text).get(alone_root), "the root's span is a value");
    require(simdjson::minify(alone_root) == simdjson::minify(root), "the root's span is the root");
    require(kind_of(root) == index.root, "the root's kind");
    simdjson::dom::object object;
    require(
        root.get(object) == simdjson::SUCCESS ? object.size() == index.members.size() : index.members.empty(),
        "the members"
    );
    for (const json_member& each : index.members) {
        simdjson::dom::element value;
        require(!object.at_key(each.key).get(value), "a member's key");
        const simdjson::padded_string part{input.substr(each.where.begin, each.where.size())};
        simdjson::dom::element alone;
        require(!second.parse(part).get(alone), "a member's span is a value");
        require(simdjson::minify(alone) == simdjson::minify(value), "a member's span is its value");
        require(kind_of(value) == each.kind, "a member's kind");
        const bool around = std::ranges::any_of(index.longs, [&](const json_long_string& inner) {
            return inner.where.begin > each.where.begin && inner.where.end < each.where.end;
        });
        require(around == each.holds_long, "a member holds a long string or does not");
    }
}

} // namespace

GW_FUZZ(input)
{
    const result<json_index> whole = scan(input, input.size());
    const std::string wanted = text_of(whole);
    for (const std::size_t size : {1u, 2u, 3u, 7u, 16u}) {
        require(text_of(scan(input, size)) == wanted, "any split gives the same");
    }
    if (whole) {
        check_simdjson(*whole, input);
        return;
    }
    require(whole.error().from == origin::client && !whole.error().text.empty(), "a refusal explains");
    const std::string& why = whole.error().text;
    const bool ours = whole.error().what == code::body_too_large ||
                      why.find("more than") != std::string::npos || why.find("twice") != std::string::npos;
    if (!ours) {
        static simdjson::dom::parser parser;
        const simdjson::padded_string padded{input};
        require(parser.parse(padded).error() != simdjson::SUCCESS, "simdjson refuses it too");
    }
}
