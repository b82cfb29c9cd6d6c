#include "ingress/writer.hpp"

#include <array>

namespace gw::ingress {
namespace {

// What a client has to take within the stall limit.
constexpr std::size_t slice = 64 * 1024;

} // namespace

void writer::begin(const reply_head& head)
{
    append(head_, head);
    as_ = head.as;
    status_ = head.status;
    close_ = head.close || head.as == body_length::until_close;
    begun_ = true;
}

net::task<result<void>> writer::put(std::string_view first, std::string_view second, bool last)
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
        co_return result<void>{};
    }

    if (broken_) {
        co_return std::unexpected(failure{.what = code::client_gone, .from = origin::client, .close = true});
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        total += out[i].size();
    }
    net::error_code ec;
    std::size_t sent = to_.try_write({out.data(), count}, ec);
    while (!ec && sent != total) {
        // Skip what is written; then a slice, so that whoever reads slowly but reads is not cut.
        std::size_t skip = sent;
        std::size_t before = 0;
        std::size_t at = 0;
        for (; before + out[at].size() <= skip; ++at) {
            before += out[at].size();
        }
        skip -= before;
        std::array<net::asio::const_buffer, 5> part;
        std::size_t parts = 0;
        std::size_t bytes = 0;
        for (std::size_t i = at; i < count && bytes < slice; ++i) {
            part[parts] = net::asio::buffer(i == at ? out[i] + skip : out[i], slice - bytes);
            bytes += part[parts++].size();
        }
        to_.write_until(net::clock::now() + stall_);
        ec = co_await to_.write({part.data(), parts});
        to_.write_until(net::never);
        sent += bytes;
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
    co_return result<void>{};
}

net::task<result<void>> writer::write(std::string_view first, std::string_view second)
{
    return put(first, second, false);
}

net::task<result<void>> writer::finish(std::string_view first, std::string_view second)
{
    return put(first, second, true);
}

} // namespace gw::ingress
