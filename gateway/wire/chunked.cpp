#include "wire/chunked.hpp"

#include "wire/bytes.hpp"
#include "wire/field_line.hpp"

#include <algorithm>
#include <string>

namespace gw::wire {
namespace {

// 15 hexadecimal digits fit into 60 bits.
constexpr std::uint8_t most_digits = 15;

bool forbidden_trailer(std::string_view name)
{
    return name == "content-length" || name == "transfer-encoding" || name == "host";
}

} // namespace

std::unexpected<failure> chunk_decoder::refuse(std::string_view what)
{
    where_ = place::failed;
    why_ = what;
    failure why;
    why.from = from_;
    if (from_ == origin::client) {
        why.what = code::bad_chunk;
        why.text = std::string{"bad chunked body: "}.append(what);
        why.close = true;
    } else {
        why.what = code::unavailable;
        why.text = "the upstream's answer is not valid HTTP";
        why.detail = std::string{"upstream chunked body: "}.append(what);
    }
    return std::unexpected(std::move(why));
}

result<chunk_decoder::step> chunk_decoder::feed(std::string_view in)
{
    std::size_t at = 0;
    while (at < in.size()) {
        const char c = in[at];
        switch (where_) {
        case place::size_first:
        case place::size_more: {
            if (const int value = bytes::hex_value(c); value >= 0) {
                if (digits_ == most_digits) {
                    return refuse("a chunk size has too many digits");
                }
                left_ = left_ * 16 + static_cast<std::uint64_t>(value);
                ++digits_;
                where_ = place::size_more;
            } else if (where_ == place::size_first) {
                return refuse("no chunk size in hexadecimal digits where one must stand");
            } else if (c == '\r') {
                where_ = place::size_lf;
            } else if (c == ';') {
                where_ = place::extension;
            } else {
                return refuse(
                    c == '\n' ? control_problem(c) : "a chunk size is followed by neither `;` nor CR LF"
                );
            }
            ++at;
            break;
        }
        case place::extension:
            if (c == '\r') {
                where_ = place::size_lf;
            } else if ((bytes::class_of(c) & bytes::visible) == 0 && c != ' ' && c != '\t') {
                return refuse(
                    static_cast<unsigned char>(c) >= 0x80 ? "a byte that no chunk extension may hold"
                                                          : control_problem(c)
                );
            } else if (++extensions_ > limits_.max_extensions) {
                return refuse("the chunk extensions are too long");
            }
            ++at;
            break;
        case place::size_lf:
            if (c != '\n') {
                return refuse(control_problem('\r'));
            }
            ++at;
            digits_ = 0;
            where_ = left_ == 0 ? place::trailer_first : place::data;
            break;
        case place::data: {
            const std::size_t taken =
                static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size() - at));
            left_ -= taken;
            if (left_ == 0) {
                where_ = place::data_cr;
            }
            return step{.consumed = at + taken, .payload = in.substr(at, taken)};
        }
        case place::data_cr:
            if (c != '\r') {
                return refuse("a chunk is longer than its size says");
            }
            ++at;
            where_ = place::data_lf;
            break;
        case place::data_lf:
            if (c != '\n') {
                return refuse(control_problem('\r'));
            }
            ++at;
            where_ = place::size_first;
            break;
        case place::trailer_first:
            name_size_ = 0;
            if (c == '\r') {
                ++at;
                where_ = place::last_lf;
            } else if (c == ':') {
                return refuse("a trailer field without a name");
            } else {
                where_ = place::trailer_name;
            }
            break;
        case place::trailer_name:
            if (c == ':') {
                const std::string_view name{name_.data(), std::min<std::size_t>(name_size_, name_.size())};
                if (forbidden_trailer(name)) {
                    return refuse("Content-Length, Transfer-Encoding or Host in a trailer");
                }
                where_ = place::trailer_value;
            } else if ((bytes::class_of(c) & bytes::token) == 0) {
                return refuse("a byte that no trailer field name may hold");
            } else if (name_size_ < name_.size()) {
                name_[name_size_++] = bytes::lower(c);
            }
            ++at;
            if (++trailers_ > limits_.max_trailers) {
                return refuse("the trailer section is too long");
            }
            break;
        case place::trailer_value:
            if (c == '\r') {
                where_ = place::trailer_lf;
            } else if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) {
                return refuse(control_problem(c));
            }
            ++at;
            if (++trailers_ > limits_.max_trailers) {
                return refuse("the trailer section is too long");
            }
            break;
        case place::trailer_lf:
            if (c != '\n') {
                return refuse(control_problem('\r'));
            }
            ++at;
            where_ = place::trailer_first;
            break;
        case place::last_lf:
            if (c != '\n') {
                return refuse(control_problem('\r'));
            }
            where_ = place::done;
            return step{.consumed = at + 1, .payload = {}};
        case place::done:
            return step{.consumed = at, .payload = {}};
        case place::failed:
            return refuse(why_);
        }
    }
    if (where_ == place::failed) {
        return refuse(why_);
    }
    return step{.consumed = at, .payload = {}};
}

} // namespace gw::wire
