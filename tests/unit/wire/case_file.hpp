// Reads tests/data/wire, as tests/support/wire_cases.py does: tests/README.md says what stands in a case
// file.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace gw::wire {

using pieces = std::map<std::string, std::string, std::less<>>; // placeholders by name

struct wire_case
{
    struct reply
    {
        std::vector<int> statuses;
        std::string code; // empty: no error
    };

    std::string name;
    std::vector<std::string> doors; // never empty; "" means: as it stands
    std::vector<reply> replies;
    bool closed = true;
    bool accepted_by_scanner = false; // a refusal, but of somebody else
    std::string text;                 // still escaped
};

// What `text` stands for.  throws  std::invalid_argument: an escape or a placeholder that is none
[[nodiscard]] inline std::string unescape(std::string_view text, const pieces& of)
{
    const auto bad = [&](std::size_t at) {
        return std::invalid_argument("bad escape: " + std::string(text.substr(at, 12)));
    };
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] != '\\') {
            out += text[at++];
            continue;
        }
        const char kind = at + 1 < text.size() ? text[at + 1] : ' ';
        constexpr std::string_view plain = "rnt0\\";
        if (const auto found = plain.find(kind); found != std::string_view::npos) {
            out += std::string_view("\r\n\t\0\\", 5)[found];
            at += 2;
        } else if (kind == 'x') {
            unsigned value = 0;
            const auto digits = text.substr(std::min(at + 2, text.size()), 2);
            const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
            if (ec != std::errc{} || end != digits.data() + 2) {
                throw bad(at);
            }
            out += static_cast<char>(value);
            at += 4;
        } else if (kind == '<') {
            const auto end = text.find('>', at);
            const auto piece = of.find(text.substr(at + 2, end - at - 2));
            if (end == std::string_view::npos || piece == of.end()) {
                throw bad(at);
            }
            out += piece->second;
            at = end + 1;
        } else if (kind == '*') {
            const auto open = text.find('(', at);
            const auto close = text.find(')', at);
            if (open == std::string_view::npos || close == std::string_view::npos) {
                throw bad(at);
            }
            const auto once = unescape(text.substr(open + 1, close - open - 1), of);
            for (int left = std::stoi(std::string(text.substr(at + 2, open - at - 2))); left > 0; --left) {
                out += once;
            }
            at = close + 1;
        } else {
            throw bad(at);
        }
    }
    return out;
}

[[nodiscard]] inline std::vector<std::string> words(const std::string& text)
{
    std::istringstream in(text);
    std::vector<std::string> made;
    for (std::string word; in >> word;) {
        made.push_back(word);
    }
    return made;
}

[[nodiscard]] inline std::pair<std::string, std::string> name_and_value(const std::string& line)
{
    const auto colon = line.find(": ");
    return colon == std::string::npos ? std::pair{line, std::string{}}
                                      : std::pair{line.substr(0, colon), line.substr(colon + 2)};
}

[[nodiscard]] inline std::string hex(std::size_t value)
{
    char digits[16];
    return {digits, std::to_chars(digits, digits + sizeof digits, value, 16).ptr};
}

// The doors by name, with the pieces that are made of what the file says; "" has those that all share.
[[nodiscard]] inline std::map<std::string, pieces> read_doors(const std::filesystem::path& folder)
{
    std::map<std::string, pieces> doors;
    std::string at;
    std::ifstream in(folder / "doors");
    for (std::string line; std::getline(in, line);) {
        const auto [name, value] = name_and_value(line);
        if (line.empty() || line.starts_with('#')) {
            continue;
        }
        if (name == "door") {
            at = value;
            doors[at] = doors[""];
        } else {
            doors[at][name] = unescape(value, {});
        }
    }
    for (auto& [name, p] : doors) {
        if (name.empty()) {
            continue;
        }
        const auto& body = p["body"];
        const auto half = body.size() / 2;
        const auto chunk = [](std::string_view part) {
            return hex(part.size()) + "\r\n" + std::string(part) + "\r\n";
        };
        p["size"] = std::to_string(body.size());
        p["size_hex"] = hex(body.size());
        p["chunked"] = chunk(body.substr(0, half)) + chunk(body.substr(half)) + "0\r\n\r\n";
        p["fields"] = "Host: " + p["host"] + "\r\nAuthorization: Bearer " + p["key"] +
                      "\r\nContent-Type: " + p["type"] + "\r\n";
        p["post"] = "POST " + p["path"] + " HTTP/1.1\r\n" + p["fields"];
        p["good"] = p["post"] + "Content-Length: " + p["size"] + "\r\n\r\n" + body;
    }
    return doors;
}

[[nodiscard]] inline wire_case
read_case(const std::filesystem::path& file, const std::map<std::string, pieces>& doors)
{
    wire_case made;
    made.name = file.stem().string();
    std::ifstream in(file);
    std::string line;
    while (std::getline(in, line) && line != "--") {
        const auto [name, value] = name_and_value(line);
        if (name == "doors" && value == "model") {
            for (const auto& [door, _] : doors) {
                if (!door.empty()) {
                    made.doors.push_back(door);
                }
            }
        } else if (name == "doors") {
            made.doors = words(value);
        } else if (name == "reply" && value != "none") {
            const auto said = words(value);
            wire_case::reply reply{.statuses = {}, .code = said.size() > 1 ? said[1] : ""};
            std::string statuses = said.at(0);
            std::ranges::replace(statuses, '|', ' ');
            for (const auto& each : words(statuses)) {
                reply.statuses.push_back(std::stoi(each));
            }
            made.replies.push_back(std::move(reply));
        } else if (name == "then") {
            made.closed = value == "closed";
        } else if (name == "scanner") {
            made.accepted_by_scanner = true;
        }
    }
    while (std::getline(in, line)) {
        made.text += line;
    }
    if (made.doors.empty()) {
        made.doors.emplace_back();
    }
    return made;
}

} // namespace gw::wire
