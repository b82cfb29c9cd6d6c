// A JSON Pointer finds what simdjson's DOM finds, as the bytes it was; text that is no JSON is never read
// beyond its end. The pointer stands in the first line of the input.
#include "wire/json_walk.hpp"

#include "config/values.hpp"
#include "property.hpp"
#include "wire/json_scan.hpp"

#include <simdjson.h>

#include <algorithm>
#include <set>
#include <string>

using namespace gw;
using namespace gw::wire;

namespace {

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
    return std::ranges::all_of(object, [&](const auto& each) {
        return seen.insert(each.key).second && unique_keys(each.value);
    });
}

// simdjson lets an index overflow, and finds an element at 2^64.
bool has_huge_index(std::string_view pointer)
{
    std::size_t digits = 0;
    for (const char c : pointer) {
        digits = c >= '0' && c <= '9' ? digits + 1 : 0;
        if (digits > 9) {
            return true;
        }
    }
    return false;
}

void check_document(std::string_view document, const std::string& pointer)
{
    const auto found = find_value(document, pointer);
    if (found) {
        require(found->begin < found->end && found->end <= document.size(), "a range of the document");
    }
    const auto members = members_of(document);
    for (const auto& each : members.value_or(std::vector<member_view>{})) {
        require(!each.value.empty() && each.value.data() >= document.data(), "a member's value");
        require(
            each.value.data() + each.value.size() <= document.data() + document.size(), "inside the document"
        );
    }

    wire::json_scanner scanner{{.long_string = 1 << 20}};
    (void)scanner.feed(document);
    const auto index = scanner.finish();
    if (!index) {
        return;
    }
    require(members.has_value() == (index->root == wire::json_kind::object), "members of objects");
    for (std::size_t i = 0; members && i < members->size(); ++i) {
        const auto& theirs = index->members.at(i);
        const auto where = static_cast<std::size_t>((*members)[i].value.data() - document.data());
        require((*members)[i].key == theirs.key && where == theirs.where.begin, "the scanner's members");
        require((*members)[i].value.size() == theirs.where.size(), "and their ends");
    }

    static simdjson::dom::parser parser;
    static simdjson::dom::parser second;
    simdjson::dom::element root;
    const simdjson::padded_string padded{document};
    if (parser.parse(padded).get(root) != simdjson::SUCCESS || !unique_keys(root) ||
        has_huge_index(pointer)) {
        return;
    }
    simdjson::dom::element wanted;
    const auto why = pointer.empty() ? root.get(wanted) : root.at_pointer(pointer).get(wanted);
    require(found.has_value() == (why == simdjson::SUCCESS), "simdjson finds it too");
    if (found) {
        const simdjson::padded_string part{document.substr(found->begin, found->size())};
        simdjson::dom::element alone;
        require(second.parse(part).get(alone) == simdjson::SUCCESS, "a value");
        require(simdjson::minify(alone) == simdjson::minify(wanted), "the same value");
    }
}

} // namespace

GW_FUZZ(input)
{
    const std::size_t cut = std::min(input.find('\n'), input.size());
    const std::string pointer{input.substr(0, cut)};
    input.remove_prefix(std::min(cut + 1, input.size()));
    if (!config::parse_pointer(pointer)) {
        (void)find_value(input, pointer);
        return;
    }
    in_blocks(input, input.size(), [&](std::string_view exact) {
        check_document(exact, pointer);
        return true;
    });
}
