// A JSON body as the gateway has it when it looks for a payload: scanned, with its members.
#pragma once

#include "dialects/dialect.hpp"
#include "message/request.hpp"
#include "wire/json_scan.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace gw {

// Whether the body lies in memory whole; else the texts of members with long strings are not at hand.
enum class held : bool { whole, in_parts };

struct scanned
{
    std::string_view text;
    wire::json_index index;
    std::vector<member_text> members;
};

// nullopt: it does not pass the scanner.
inline std::optional<scanned> scan(std::string_view text, std::uint64_t long_string, held how = held::whole)
{
    wire::json_scanner scanner{{.long_string = long_string}};
    (void)scanner.feed(text);
    auto index = scanner.finish();
    if (!index) {
        return std::nullopt;
    }
    scanned made{.text = text, .index = std::move(*index), .members = {}};
    for (const auto& each : made.index.members) {
        const bool at_hand = how == held::whole || !each.holds_long;
        made.members.push_back(
            {.name = each.key,
             .where = each.where,
             .text = at_hand ? text.substr(each.where.begin, each.where.size()) : std::string_view{}}
        );
    }
    return made;
}

inline dialects::body_facts facts_of(const scanned& body, held how = held::whole)
{
    return {
        .json = true,
        .index = &body.index,
        .text = how == held::whole ? body.text : std::string_view{},
        .members = body.members,
        .first_bytes = {},
        .size = body.text.size(),
    };
}

} // namespace gw
