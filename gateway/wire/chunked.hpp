// Takes the chunked coding off a body as it arrives, in both directions, without copying. One object per
// body; pure. Strict (RFC 9112 section 7.1): CRLF only, plain hexadecimal sizes, bounded extensions and
// trailers. Trailer fields are checked and dropped: nothing in a trailer may ever act as a header.
#pragma once

#include "message/failure.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gw::wire {

struct chunk_limits
{
    std::size_t max_extensions = 16 * 1024; // bytes of all chunk extensions of a body together
    std::size_t max_trailers = 8 * 1024;    // bytes of the trailer section
};

class chunk_decoder
{
public:
    struct step
    {
        std::size_t consumed = 0; // bytes of `in` that are done with, payload included
        std::string_view payload; // a view into `in`: the next bytes of the body; may be empty
    };

    // from: who sends the body. client: errors are bad_chunk (400, close); upstream: unavailable.
    explicit chunk_decoder(origin from, chunk_limits limits = {}) : from_(from), limits_(limits) {}

    // Decodes up to the end of one run of payload. Loop: use the payload, drop the consumed bytes, call again
    // while bytes are left and not done(). With nothing left over, more input is needed. Bytes behind the end
    // are never consumed.
    //   errors   a bad size line (no digit, more than 15 digits, `0x`, blanks, bare LF or CR), bytes behind a
    //   chunk that are
    //            not CRLF, a bad trailer field, Content-Length, Transfer-Encoding or Host in a trailer, over
    //            the limits. Sticky: every later call fails too
    [[nodiscard]] result<step> feed(std::string_view in);

    // The last chunk and the trailer section have been consumed. If the sender closes before that, the body
    // is cut.
    [[nodiscard]] bool done() const { return where_ == place::done; }

private:
    enum class place : std::uint8_t {
        size_first,
        size_more,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer_first,
        trailer_name,
        trailer_value,
        trailer_lf,
        last_lf,
        done,
        failed,
    };

    [[nodiscard]] std::unexpected<failure> refuse(std::string_view what);

    origin from_;
    chunk_limits limits_;
    place where_ = place::size_first;
    std::uint8_t digits_ = 0;
    std::uint8_t name_size_ = 0;
    std::array<char, 20> name_{
    }; // the start of a trailer's name, lowercase: enough to know the forbidden ones
    std::uint64_t left_ = 0; // of the current chunk
    std::size_t extensions_ = 0;
    std::size_t trailers_ = 0;
    std::string_view why_; // of the sticky failure; a literal
};

} // namespace gw::wire
