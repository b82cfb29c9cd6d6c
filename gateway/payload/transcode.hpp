// Executes one piece of a body plan over the bytes of its range, in order, in any split. Pure; memory does
// not grow with the payload. One object serves one piece of one attempt on one thread.
#pragma once

#include "message/body.hpp"
#include "message/failure.hpp"
#include "payload/base64.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace gw::payloads {

// Usage: feed() the bytes of piece.from in order (none for a literal), then finish(). The output is appended.
//   errors  invalid_base64 (origin client): see base64.hpp; also an escape that no base64 character comes
//   from
//           internal (origin gateway): more or fewer bytes than piece.from, or an output that is not
//           piece.length long. Neither is ever only noticed by the peer: what would exceed the length is not
//           put out
class transcoder
{
public:
    explicit transcoder(const piece& plan); // `plan` outlives it

    [[nodiscard]] result<void> feed(std::string_view in, std::string& out);
    [[nodiscard]] result<void> finish(std::string& out);

    // Bytes of the range still to be fed.
    [[nodiscard]] std::uint64_t left() const { return plan_->from.size() - consumed_; }

private:
    result<void> decode_escaped(std::string_view in, std::string& out);
    result<void> decode_plain(std::string_view in, std::string& out);
    result<void> count(std::uint64_t produced);
    std::unexpected<failure> mismatch(std::string_view what);

    const piece* plan_;
    std::uint64_t consumed_ = 0;
    std::uint64_t produced_ = 0;
    base64_encoder encoder_;
    base64_decoder decoder_;

    // an escape that the split cut
    enum class escape : std::uint8_t { none, backslash, hex };
    escape in_ = escape::none;
    unsigned hex_left_ = 0;
    unsigned hex_value_ = 0;
};

} // namespace gw::payloads
