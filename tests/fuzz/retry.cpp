// Whatever a header says, a wait is between nothing and the longest; dates read back as they were written.
#include "wire/retry.hpp"

#include "property.hpp"

#include <cstring>

using namespace gw;
using namespace gw::wire;
using namespace std::chrono;

GW_FUZZ(input)
{
    const system_clock::time_point now{seconds{1767225600}};
    if (const auto wait = retry_after(input, now)) {
        require(*wait >= milliseconds{0} && *wait <= milliseconds{longest_wait}, "a wait within bounds");
    }
    if (const auto limit = parse_rate_limit(input)) {
        require(
            !limit->bucket.empty() && limit->reset >= seconds{0} && limit->reset <= seconds{longest_wait},
            "a limit within bounds"
        );
    }
    if (input.size() >= 4) {
        std::uint32_t offset = 0;
        std::memcpy(&offset, input.data(), 4);
        const system_clock::time_point when{seconds{offset}};
        require(
            retry_after(http_date(when), when - seconds{5}) == seconds{5},
            "a date reads back as it was written"
        );
    }
}
