// A worker's output, cut into lines that can be logged: valid UTF-8, no control characters, no token, a
// bounded length. Pure. A carriage return ends a line too, since progress bars rewrite theirs; empty lines
// are dropped.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gw::workers {

inline constexpr std::size_t longest_line = 2000; // bytes; " [cut]" follows where there was more

class line_splitter
{
public:
    // `secret` is replaced by *** wherever it stands in a line; empty: none.
    explicit line_splitter(std::string secret) : secret_(std::move(secret)) {}

    // The lines that these bytes complete. How the bytes were split makes no difference.
    [[nodiscard]] std::vector<std::string> feed(std::string_view bytes);

    // What stands after the last line end, when no more will come.
    [[nodiscard]] std::vector<std::string> finish();

private:
    void end_line(std::vector<std::string>& lines);

    std::string secret_;
    std::string held_; // of the line under way: at most longest_line and as much as a secret may overlap it
    bool cut_ = false; // the line under way is longer than that
};

// How many lines a second of one worker go to the log. What is over that is counted.
class line_gate
{
public:
    using time_point = std::chrono::steady_clock::time_point;
    static constexpr std::size_t lines_a_second = 500;

    [[nodiscard]] bool admit(time_point now);

    // How many were not admitted in seconds that are over; the count begins anew.
    [[nodiscard]] std::size_t take_refused(time_point now);
    [[nodiscard]] std::size_t take_refused();

private:
    time_point second_; // its beginning
    std::size_t admitted_ = 0;
    std::size_t refused_ = 0;
};

// Invalid UTF-8 becomes U+FFFD, terminal escapes (ECMA-48 CSI) go, other control characters become spaces.
[[nodiscard]] std::string clean_line(std::string_view raw);

} // namespace gw::workers
