// One start of a worker: its launcher and what that reports, what the worker writes, the questions for its
// health. Does what it is told and decides nothing. On the supervisor's thread; lives until its `ended` was
// called.
#pragma once

#include "message/failure.hpp"
#include "workers/life.hpp"
#include "workers/lines.hpp"
#include "workers/probe.hpp"
#include "workers/spawn.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gw::workers {

class process : public std::enable_shared_from_this<process>
{
public:
    struct events
    {
        std::function<void(pid_t)> started;                         // the command runs
        std::function<void(const std::vector<std::string>&)> wrote; // lines, clean
        std::function<void(const probe_answer&)> answered;          // to ask_later()
        std::function<void(const std::string&)> ended;              // how; once, nothing comes after it
    };

    //   secret   must not be seen in what it writes; empty: none
    //   errors   those of launch()
    [[nodiscard]] static result<std::shared_ptr<process>> start(
        boost::asio::io_context& context,
        const launch_order& order,
        ready_worker where,
        std::string secret,
        events to
    );
    process(
        boost::asio::io_context& context, launched&& from, ready_worker where, std::string secret, events to
    );

    // GET `path` after a while; one question at a time.
    void ask_later(milliseconds delay, std::string path, milliseconds time);

    // SIGTERM, SIGKILL after the stop_timeout: the launcher sees to it. No more questions.
    void stop();
    // SIGKILL to the worker: its launcher clears up and ends.
    void strike();
    // SIGKILL to both, when the launcher does not do what it is there for.
    void kill();

    [[nodiscard]] const ready_worker& where() const { return where_; }
    [[nodiscard]] time_point started_at() const { return started_at_; }
    [[nodiscard]] pid_t worker() const { return worker_; } // 0: not yet known

private:
    void read_control();
    void take_report(std::string_view line);
    void read_output();
    void drain();
    void end();

    boost::asio::io_context& context_;
    const ready_worker where_;
    const time_point started_at_;
    const pid_t launcher_;
    events to_;
    boost::asio::local::stream_protocol::socket control_;
    boost::asio::posix::stream_descriptor output_;
    boost::asio::steady_timer pause_;
    std::shared_ptr<probe> asking_;
    std::array<char, 256> control_bytes_{};
    std::array<char, 16 * 1024> output_bytes_{};
    std::string reports_; // of the launcher: what is not a whole line yet
    std::string end_;     // how the worker ended, once told
    pid_t worker_ = 0;
    line_splitter splitter_;
    bool over_ = false;
};

} // namespace gw::workers
