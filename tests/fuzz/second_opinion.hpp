// Boost.Beast's parser as a second opinion about heads. It is laxer than ours, so: what ours accepts, it must
// accept too and read the same way.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>

#include "wire/field.hpp"

#include "property.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace gw {

enum class opinion { accepted, refused, about_connection };

// Gives a whole head to `parser`. about_connection: it is refused for the value of Connection or
// Proxy-Connection alone.
template <bool is_request>
opinion ask_beast(
    std::string_view head, boost::beast::http::parser<is_request, boost::beast::http::empty_body>& parser
)
{
    parser.header_limit(1 << 20);
    parser.body_limit(boost::none);
    parser.eager(false);
    boost::beast::error_code problem;
    while (!parser.is_header_done()) {
        const std::size_t used = parser.put(boost::asio::buffer(head), problem);
        if (problem == boost::beast::http::error::bad_value) {
            return opinion::about_connection;
        }
        if (problem || used == 0) {
            return opinion::refused;
        }
        head.remove_prefix(used);
    }
    return opinion::accepted;
}

// Beast found the same fields, those of one name in the same order (it puts them side by side). Ours leave
// out names that hold `_` in requests.
template <bool is_request>
void require_same_fields(
    const std::vector<wire::field>& ours,
    const boost::beast::http::parser<is_request, boost::beast::http::empty_body>& parser
)
{
    std::size_t count = 0;
    for (const auto& theirs : parser.get()) {
        const std::string_view name{theirs.name_string().data(), theirs.name_string().size()};
        count += is_request && name.contains('_') ? 0 : 1;
    }
    require(count == ours.size(), "Beast reads as many fields");
    for (const wire::field& each : ours) {
        std::vector<std::string_view> same;
        for (const wire::field& other : ours) {
            if (wire::same_name(other.name, each.name)) {
                same.push_back(other.value);
            }
        }
        const auto [from, to] = parser.get().equal_range(each.name);
        const bool equal =
            std::equal(from, to, same.begin(), same.end(), [](const auto& a, std::string_view b) {
                return std::string_view{a.value().data(), a.value().size()} == b;
            });
        require(equal, "Beast reads the same values");
    }
}

} // namespace gw
