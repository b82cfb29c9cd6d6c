#include "ingress/writer.hpp"

#include <array>

namespace gw::ingress {
namespace {

constexpr std::size_t usual_head = 500; // bytes

} // namespace

void writer::begin(const reply_head& head)
{
    head_.clear();
    head_.reserve(usual_head);
    append(head_, head);
    as_ = head.as;
    status_ = head.status;
    event_stream_ = head.event_stream;
    close_ = head.close || head.as == body_length::until_close;
    begun_ = true;
}

net::task<lean<void>> writer::put(std::string_view first, std::string_view second, bool last)
{
    static constexpr std::string_view end_of_chunk = "\r\n";
    static constexpr std::string_view last_chunk = "0\r\n\r\n";

    std::array<net::asio::const_buffer, 5> out;
    std::size_t count = 0;
    const auto add = [&](std::string_view bytes) {
        if (!bytes.empty()) {
            out[count++] = net::asio::buffer(bytes.data(), bytes.size());
            bytes_ += bytes.size();
        }
    };
    const std::uint64_t size = first.size() + second.size();
    std::string lead = std::move(head_);
    head_.clear();
    const bool chunked = as_ == body_length::chunked;
    if (chunked && size != 0) {
        append_chunk_size(lead, size);
    }
    add(lead);
    add(first);
    add(second);
    if (chunked && size != 0) {
        add(end_of_chunk);
    }
    if (chunked && last) {
        add(last_chunk);
    }
    if (count == 0) {
        finished_ = last;
        co_return lean<void>{};
    }

    if (broken_) {
        co_return std::unexpected(failure{.what = code::client_gone, .from = origin::client, .close = true});
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        total += out[i].size();
    }
    co_await to_.on().turn();
    net::error_code ec;
    const std::size_t sent = to_.try_write({out.data(), count}, ec);
    if (!ec && sent != total) {
        std::size_t skip = sent;
        std::size_t at = 0;
        while (at < count && skip >= out[at].size()) {
            skip -= out[at].size();
            ++at;
        }
        if (at < count) {
            out[at] += skip;
        }
        ec = co_await to_.write({out.data() + at, count - at}, stall_);
    }
    if (ec) {
        broken_ = true;
        co_return std::unexpected(failure{
            .what = code::client_gone,
            .from = origin::client,
            .detail = "writing to the client: " + ec.message(),
            .close = true
        });
    }
    if (!sent_head_) {
        sent_head_ = true;
        first_byte_ = net::clock::now();
    }
    finished_ = last;
    co_return lean<void>{};
}

net::task<lean<void>> writer::write(std::string_view first, std::string_view second)
{
    return put(first, second, false);
}

net::task<lean<void>> writer::finish(std::string_view first, std::string_view second)
{
    return put(first, second, true);
}

} // namespace gw::ingress
