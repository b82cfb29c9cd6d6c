// Boost.Beast's parser as a second opinion about heads. It is laxer than ours, so: what ours accepts, it must
// accept too and read the same way.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <optional>
#include <string_view>

namespace gw {

// The parser after the head, nullopt if Beast refuses it.
template <bool is_request>
bool beast_accepts(
    std::string_view head, boost::beast::http::parser<is_request, boost::beast::http::empty_body>& parser
)
{
    parser.header_limit(1 << 20);
    parser.body_limit(boost::none);
    parser.eager(false);
    boost::beast::error_code problem;
    while (!parser.is_header_done()) {
        const std::size_t used = parser.put(boost::asio::buffer(head), problem);
        if (problem || used == 0) {
            return false;
        }
        head.remove_prefix(used);
    }
    return true;
}

} // namespace gw
