// Whatever a header says and whatever the clock shows, a wait is between nothing and the longest; dates read
// back as they were written in all three forms; limits too, in whatever order their parameters stand.
#include "wire/retry.hpp"

#include "property.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <string>

using namespace gw;
using namespace gw::wire;
using namespace std::chrono;

namespace {

std::string by_strftime(const char* form, std::time_t when)
{
    std::tm parts{};
    std::array<char, 64> text{};
    require(::gmtime_r(&when, &parts) != nullptr, "a date that exists");
    return {text.data(), std::strftime(text.data(), text.size(), form, &parts)};
}

// A plain number of seconds, read digit by digit.
void check_seconds(std::string_view input)
{
    if (input.empty() || input.find_first_not_of("0123456789") != std::string_view::npos) {
        return;
    }
    const std::string_view digits = input.substr(std::min(input.find_first_not_of('0'), input.size()));
    const seconds wanted =
        digits.size() > 8 ? seconds{longest_wait} : seconds{std::stoll("0" + std::string{digits})};
    require(
        retry_after(input, system_clock::time_point{}) == std::min<milliseconds>(wanted, longest_wait),
        "seconds are seconds"
    );
}

} // namespace

GW_FUZZ(input)
{
    for (const auto now :
         {system_clock::time_point{seconds{1767225600}},
          system_clock::time_point{},
          system_clock::time_point::max(),
          system_clock::time_point::min()}) {
        if (const auto wait = retry_after(input, now)) {
            require(*wait >= milliseconds{0} && *wait <= milliseconds{longest_wait}, "a wait within bounds");
        }
    }
    check_seconds(input);
    if (const auto limit = parse_rate_limit(input)) {
        require(
            !limit->bucket.empty() && limit->reset >= seconds{0} && limit->reset <= seconds{longest_wait},
            "a limit within bounds"
        );
        const std::string r = ";r=" + std::to_string(limit->remaining);
        const std::string t = " ; t = " + std::to_string(limit->reset.count());
        const std::string name = "\"" + limit->bucket + "\"";
        for (const std::string& text : {name + r + t, name + t + ";w=1;q" + r}) {
            const auto again = parse_rate_limit(text);
            const bool same = again && again->remaining == limit->remaining && again->reset == limit->reset;
            require(same && again->bucket == limit->bucket, "a limit reads back as it was written");
        }
    }
    if (input.size() >= 4) {
        std::uint32_t offset = 0;
        std::memcpy(&offset, input.data(), 4);
        const system_clock::time_point when{seconds{offset}};
        const auto at = static_cast<std::time_t>(offset);
        require(
            http_date(when) == by_strftime("%a, %d %b %Y %H:%M:%S GMT", at),
            "the date that the library writes"
        );
        for (const std::string& text :
             {http_date(when),
              by_strftime("%A, %d-%b-%y %H:%M:%S GMT", at),
              by_strftime("%a %b %e %H:%M:%S %Y", at)}) {
            require(
                retry_after(text, when - seconds{5}) == seconds{5}, "a date reads back as it was written"
            );
        }
    }
}
