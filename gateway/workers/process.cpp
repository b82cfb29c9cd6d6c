#include "workers/process.hpp"

#include <boost/asio/buffer.hpp>

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace gw::workers {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t drained_bytes = 1024 * 1024; // of what a worker wrote before it ended

int number_after(std::string_view line, std::string_view word)
{
    int number = -1;
    if (line.starts_with(word)) {
        std::from_chars(line.data() + word.size(), line.data() + line.size(), number);
    }
    return number;
}

std::string describe_signal(int number)
{
    std::string text = "was killed by signal " + std::to_string(number);
    if (number == SIGKILL) {
        text += " (by hand, or by the kernel for want of memory)";
    } else if (const char* name = ::sigabbrev_np(number); name != nullptr) {
        text += " (SIG" + std::string(name) + ")";
    }
    return text;
}

} // namespace

result<std::shared_ptr<process>> process::start(
    asio::io_context& context, const launch_order& order, ready_worker where, std::string secret, events to
)
{
    result<launched> made = launch(order);
    if (!made) {
        return fail(made);
    }
    auto one = std::make_shared<process>(context, std::move(*made), where, std::move(secret), std::move(to));
    one->read_control();
    one->read_output();
    return one;
}

process::process(
    asio::io_context& context, launched&& from, ready_worker where, std::string secret, events to
)
    : context_(context), where_(where), started_at_(std::chrono::steady_clock::now()),
      launcher_(from.launcher), to_(std::move(to)),
      control_(context, asio::local::stream_protocol(), from.control.release()),
      output_(context, from.output.release()), pause_(context), splitter_(std::move(secret))
{
    output_.non_blocking(true);
}

void process::ask_later(milliseconds delay, std::string path, milliseconds time)
{
    pause_.expires_after(delay);
    pause_.async_wait([self = shared_from_this(), path = std::move(path), time](error_code fault) {
        if (fault || self->over_) {
            return;
        }
        self->asking_ =
            probe::start(self->context_, self->where_.port, path, time, [self](const probe_answer& got) {
                if (!self->over_) {
                    self->to_.answered(got);
                }
            });
    });
}

void process::stop()
{
    pause_.cancel();
    if (asking_) {
        asking_->cancel();
    }
    error_code ignored;
    control_.shutdown(asio::local::stream_protocol::socket::shutdown_send, ignored);
}

void process::strike()
{
    // Before the launcher has told who the worker is there is nothing to clear up.
    ::kill(worker_ > 0 ? -worker_ : launcher_, SIGKILL);
}

void process::kill()
{
    ::kill(launcher_, SIGKILL);
    if (worker_ > 0) {
        ::kill(-worker_, SIGKILL);
    }
}

// What the launcher reports; its end of file is the end of the process.
void process::read_control()
{
    control_.async_read_some(
        asio::buffer(control_bytes_),
        [self = shared_from_this()](error_code fault, std::size_t size) {
            if (fault) {
                self->end();
                return;
            }
            self->reports_.append(self->control_bytes_.data(), size);
            std::size_t line_end = 0;
            while ((line_end = self->reports_.find('\n')) != std::string::npos) {
                self->take_report(std::string_view(self->reports_).substr(0, line_end));
                self->reports_.erase(0, line_end + 1);
            }
            self->read_control();
        }
    );
}

void process::take_report(std::string_view line)
{
    if (const int pid = number_after(line, "started "); pid > 0) {
        worker_ = pid;
        to_.started(worker_);
    } else if (const int status = number_after(line, "exited "); status >= 0) {
        end_ = "exited with status " + std::to_string(status);
    } else if (const int number = number_after(line, "signal "); number > 0) {
        end_ = describe_signal(number);
    } else if (line.starts_with("failed ")) {
        end_ = "could not be started: " + clean_line(line.substr(7));
    }
}

// Waits and reads in two steps, so that what was read is never still under way when drain() reads the rest.
void process::read_output()
{
    output_.async_wait(
        asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this()](error_code fault) {
            if (fault || self->over_) {
                return;
            }
            const std::size_t size = self->output_.read_some(asio::buffer(self->output_bytes_), fault);
            if (fault && fault != asio::error::would_block && fault != asio::error::interrupted) {
                return;
            }
            self->to_.wrote(self->splitter_.feed({self->output_bytes_.data(), size}));
            self->read_output();
        }
    );
}

// Reads what was written before the end. Somebody who left the worker's group may hold the other side open,
// so the end of file is not waited for.
void process::drain()
{
    std::size_t total = 0;
    error_code fault;
    while (total < drained_bytes) {
        const std::size_t size = output_.read_some(asio::buffer(output_bytes_), fault);
        if (fault || size == 0) {
            break;
        }
        total += size;
        to_.wrote(splitter_.feed({output_bytes_.data(), size}));
    }
    to_.wrote(splitter_.finish());
    output_.close(fault);
}

// The launcher has ended, and with it the worker and all that it left behind.
void process::end()
{
    over_ = true;
    pause_.cancel();
    if (asking_) {
        asking_->cancel();
    }
    drain();
    error_code ignored;
    control_.close(ignored);

    // Its descriptors are closed, so it is a zombie now or in a moment.
    int status = 0;
    while (::waitpid(launcher_, &status, 0) < 0 && errno == EINTR) {
    }
    if (end_.empty()) {
        end_ = "was lost: its launcher " + (WIFSIGNALED(status)
                                                ? describe_signal(WTERMSIG(status))
                                                : "ended with status " + std::to_string(WEXITSTATUS(status)));
        if (worker_ > 0) { // the kernel has killed the worker with it, but not the rest of its group
            ::kill(-worker_, SIGKILL);
        }
    }
    const events to = std::exchange(to_, {});
    to.ended(end_);
}

} // namespace gw::workers
