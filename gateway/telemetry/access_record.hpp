// One JSON object per request on stdout, refused requests too. Each core formats into its own buffer; a
// writer thread takes full buffers, so a core never waits for the reader of stdout. A reader that stalls
// costs records (counted), not memory.
#pragma once

#include "message/usage.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gw::telemetry {

// One exchange with an upstream, or a candidate that was not tried. Views, here and below: into the policy
// that the request holds, or our own words.
struct attempt_record
{
    std::string_view upstream;
    std::string_view token;   // its name, never its value
    int status = 0;           // 0: none
    std::string_view outcome; // or the reason why it was skipped
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    double ms = 0;
};

struct access_record
{
    std::chrono::system_clock::time_point at;
    std::string request_id;
    std::string client;
    std::string_view dialect;
    std::string_view door;
    std::string_view task;
    std::string model; // as asked
    std::string entry; // the policy's entry that applied
    std::vector<attempt_record> route;
    std::string_view error; // the code, when it failed
    int status = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    bool no_copy = false; // the body could not be kept for a second attempt
    usage used;
    double ms_hub = -1;        // waited for what the Hub says of the model; -1: it was not asked
    double ms_first_byte = -1; // -1: none was sent
    double ms = 0;
};

// Appends the record as one line.
void format(std::string& out, const access_record& what);

// The writer of stdout, and of the log on stderr. Thread-safe.
class line_writer
{
public:
    explicit line_writer(int fd);
    ~line_writer(); // writes what is queued, unless nobody reads, then stops
    line_writer(const line_writer&) = delete;
    line_writer& operator=(const line_writer&) = delete;

    // Takes whole lines; drops them (and counts `lines`) when more than 8 MiB wait, or when they cannot be
    // written.
    void put(std::string&& text, std::uint64_t lines);
    [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

private:
    void run();
    bool write_out(std::string_view text);
    void drop(std::string_view text);

    int fd_;
    std::mutex guard_;
    std::condition_variable wake_;
    std::deque<std::string> queue_;
    std::size_t queued_ = 0;
    bool ending_ = false;
    bool within_line_ = false; // what was written last ends inside a line. The thread's own, as the next
    bool lost_ = false;        // and the rest of it was dropped
    std::atomic<std::uint64_t> dropped_{0};
    std::thread thread_;
};

// A core's buffer in front of the writer. Used on that core's thread only.
class access_log
{
public:
    explicit access_log(line_writer& to) : to_(to) {}
    ~access_log() { flush(); }
    access_log(const access_log&) = delete;
    access_log& operator=(const access_log&) = delete;

    void add(const access_record& what);
    void flush(); // called by the tick, so a record waits 200 ms at most

private:
    line_writer& to_;
    std::string buffer_;
    std::uint64_t lines_ = 0;
};

} // namespace gw::telemetry
