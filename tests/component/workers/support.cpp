#include "support.hpp"

#include "workers/descriptor.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace gw::workers {

using namespace std::chrono_literals;

bool eventually(const std::function<bool()>& happened)
{
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (!happened()) {
        if (std::chrono::steady_clock::now() >= until) {
            return false;
        }
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

temporary_folder::temporary_folder()
{
    std::string pattern = std::filesystem::temp_directory_path() / "gw-workers-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
        throw std::runtime_error("no temporary folder");
    }
    path_ = pattern;
}

temporary_folder::~temporary_folder()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string logged_line::field(std::string_view name) const
{
    const auto found = std::ranges::find(fields, name, &std::pair<std::string, std::string>::first);
    return found == fields.end() ? std::string() : found->second;
}

log_fn recorder::writer()
{
    return [this](severity level, std::string_view text, const log_fields& fields) {
        const std::scoped_lock guard(lock_);
        lines_.push_back(
            {.at = std::chrono::steady_clock::now(),
             .level = level,
             .text = std::string(text),
             .fields = {fields.begin(), fields.end()}}
        );
    };
}

std::string recorder::story() const
{
    std::string told;
    for (const logged_line& each : all()) {
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(each.at - begun_);
        told += std::to_string(ms.count()) + " ms  " + each.text;
        for (const auto& [name, value] : each.fields) {
            told += "  " + name + "=" + value;
        }
        told += "\n";
    }
    return told;
}

std::vector<logged_line> recorder::all() const
{
    const std::scoped_lock guard(lock_);
    return lines_;
}

bool recorder::has(std::string_view part_of_text) const
{
    return std::ranges::any_of(all(), [&](const logged_line& each) {
        return each.text.contains(part_of_text);
    });
}

config::upstream scripted(const std::string& mark, std::vector<std::string> flags, std::string name)
{
    config::upstream made;
    made.name = std::move(name);
    made.kind = config::kind::local;
    made.run = config::worker{
        .command =
            {"/usr/bin/python3", GW_WORKER_SCRIPT, "--port", "$port", "--model", "$model", "--mark", mark},
        .start_timeout = 30s,
        .stop_timeout = 10s,
    };
    made.run->command.insert(made.run->command.end(), flags.begin(), flags.end());
    return made;
}

result<ready_worker> ensured(supervisor& workers, const config::upstream& to, std::string_view model)
{
    auto told = std::make_shared<std::promise<result<ready_worker>>>();
    std::future<result<ready_worker>> future = told->get_future();
    workers.ensure(to, model, [told](result<ready_worker> what) { told->set_value(std::move(what)); });
    if (future.wait_for(40s) != std::future_status::ready) {
        return std::unexpected(failure{.text = "ensure() never answered"});
    }
    return future.get();
}

worker_status status_of(const supervisor& workers, std::string_view upstream)
{
    for (worker_status& each : workers.snapshot()) {
        if (each.upstream == upstream) {
            return std::move(each);
        }
    }
    return {};
}

std::optional<std::string> get(std::uint16_t port, std::string_view path)
{
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string answer;
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) {
        const std::string request = "GET " + std::string(path) + " HTTP/1.0\r\n\r\n";
        (void)::send(socket, request.data(), request.size(), MSG_NOSIGNAL);
        std::array<char, 4096> bytes{};
        for (ssize_t size = 0; (size = ::recv(socket, bytes.data(), bytes.size(), 0)) > 0;) {
            answer.append(bytes.data(), static_cast<std::size_t>(size));
        }
    }
    ::close(socket);
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == std::string::npos || !answer.substr(0, answer.find("\r\n")).contains(" 200 ")) {
        return std::nullopt;
    }
    return answer.substr(head + 4);
}

// Not by a stream: that throws when a process goes while its file in /proc is read.
std::string contents(const std::string& path)
{
    const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string all;
    std::array<char, 4096> bytes{};
    for (ssize_t size = 0; file && (size = ::read(file.get(), bytes.data(), bytes.size())) > 0;) {
        all.append(bytes.data(), static_cast<std::size_t>(size));
    }
    return all;
}

std::vector<std::string> marked(const std::string& path, std::string_view word)
{
    std::vector<std::string> found;
    std::istringstream lines(contents(path));
    for (std::string line; std::getline(lines, line);) {
        if (line == word) {
            found.emplace_back();
        } else if (line.starts_with(word) && (line[word.size()] == ' ' || line[word.size()] == '\t')) {
            found.push_back(line.substr(word.size() + 1));
        }
    }
    return found;
}

namespace {

// The fields of /proc/PID/stat after the name: state, parent, ...
std::vector<std::string> fields_of(pid_t pid)
{
    const std::string text = contents("/proc/" + std::to_string(pid) + "/stat");
    const std::size_t name_end = text.rfind(')');
    std::istringstream rest(name_end == std::string::npos ? "" : text.substr(name_end + 1));
    return {std::istream_iterator<std::string>(rest), {}};
}

} // namespace

bool is_gone(pid_t pid)
{
    const std::vector<std::string> fields = fields_of(pid);
    return fields.empty() || fields[0] == "Z" || fields[0] == "X";
}

pid_t parent_of(pid_t pid)
{
    const std::vector<std::string> fields = fields_of(pid);
    return fields.size() < 2 ? 0 : std::stoi(fields[1]);
}

std::vector<std::string> split_at_nul(const std::string& text)
{
    std::vector<std::string> parts;
    std::istringstream from(text);
    for (std::string part; std::getline(from, part, '\0');) {
        parts.push_back(part);
    }
    return parts;
}

} // namespace gw::workers
