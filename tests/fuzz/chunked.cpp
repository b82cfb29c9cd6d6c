// Any split gives the same payload, end and failure; what was decoded can be coded and decoded again.
#include "wire/chunked.hpp"

#include "property.hpp"

#include <string>

using namespace gw;
using namespace gw::wire;

namespace {

struct decoded
{
    std::string payload;
    std::size_t consumed = 0;
    bool done = false;
    std::string problem;

    friend bool operator==(const decoded&, const decoded&) = default;
};

decoded decode(std::string_view input, std::size_t size)
{
    decoded out;
    chunk_decoder decoder{origin::client, {.max_extensions = 64, .max_trailers = 64}};
    in_blocks(input, size, [&](std::string_view rest) {
        while (!rest.empty() && !decoder.done()) {
            const result<chunk_decoder::step> step = decoder.feed(rest);
            if (!step) {
                out.problem = step.error().text;
                out.consumed = 0; // where in a block it fails is of no interest
                return false;
            }
            require(step->consumed > 0, "every call makes progress");
            out.payload += step->payload;
            out.consumed += step->consumed;
            rest.remove_prefix(step->consumed);
        }
        return !decoder.done();
    });
    out.done = decoder.done();
    return out;
}

} // namespace

GW_FUZZ(input)
{
    const decoded whole = decode(input, input.size());
    for (const std::size_t size : {1u, 2u, 3u, 7u, 16u}) {
        require(decode(input, size) == whole, "any split gives the same");
    }
    if (!whole.done) {
        return;
    }
    char digits[20];
    std::snprintf(digits, sizeof digits, "%zx\r\n", whole.payload.size());
    std::string again = whole.payload.empty() ? "" : digits + whole.payload + "\r\n";
    again += "0\r\n\r\n";
    const decoded second = decode(again, 5);
    require(
        second.done && second.payload == whole.payload && second.consumed == again.size(),
        "coded again it is the same"
    );
}
