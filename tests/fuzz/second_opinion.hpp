// Boost.Beast's parser as a second opinion about heads. It is laxer than ours, so: what ours accepts, it must
// accept too and read the same way.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>

#include <cstddef>
#include <string_view>

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

} // namespace gw
