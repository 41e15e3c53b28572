// Small charts as SVG text: axes with round numbers, lines, dots and fields of colour.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cohort::examples {

/// `value` as people write it: 12, 0.5, 1.2k, 3.4M.
inline std::string short_number(double value) {
    std::array<char, 32> text{};
    const auto put = [&](const char* format, double v) { std::snprintf(text.data(), text.size(), format, v); };
    const double size = std::abs(value);
    if (size >= 1e9) {
        put("%.3gG", value / 1e9);
    } else if (size >= 1e6) {
        put("%.3gM", value / 1e6);
    } else if (size >= 1e4) {
        put("%.3gk", value / 1e3);
    } else {
        put("%.4g", value);
    }
    return text.data();
}

/// Text that may stand in HTML and SVG.
inline std::string html_text(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '&': out += "&amp;"; break;
        case '"': out += "&quot;"; break;
        default: out += c;
        }
    }
    return out;
}

/// One chart of 640 by 300, of which take() gives the text. Colours are CSS classes c0, c1 and so on of the page.
class svg_plot {
public:
    using points = std::vector<std::pair<double, double>>;

    svg_plot(std::string_view title, double x_most, double y_most, std::string_view x_name, std::string_view y_name)
        : x_most_(std::max(x_most, 1e-9)), y_most_(std::max(y_most, 1e-9)) {
        head_ = "<figure><figcaption>" + html_text(title) + "</figcaption><div class='legend'>";
        text_ = "</div><svg viewBox='0 0 640 300' role='img' aria-label='" + html_text(title) + "'>";
        for (const double x : ticks(x_most_)) {
            line_at(px(x), top, px(x), bottom, "grid");
            label(px(x), bottom + 16, "middle", short_number(x));
        }
        for (const double y : ticks(y_most_)) {
            line_at(left, py(y), right, py(y), "grid");
            label(left - 6, py(y) + 4, "end", short_number(y));
        }
        label(right, bottom + 32, "end", x_name);
        label(left, top - 8, "start", y_name);
    }

    /// A line, with its name at the right end of the legend.
    void line(const points& all, std::size_t colour, std::string_view name) {
        text_ += "<polyline class='line c" + std::to_string(colour) + "' points='";
        for (const auto& [x, y] : all) text_ += number(px(x)) + "," + number(py(y)) + " ";
        text_ += "'/>";
        legend(colour, name);
    }

    void dots(const points& all, std::size_t colour, std::string_view name) {
        for (const auto& [x, y] : all)
            text_ += "<circle class='dot c" + std::to_string(colour) + "' r='3' cx='" + number(px(x)) + "' cy='" +
                     number(py(y)) + "'/>";
        legend(colour, name);
    }

    /// A rectangle between two corners of the plane, more or less strong from 0 to 1, in 20 steps. Those that look the
    /// same become one path, or a page of thousands would be large.
    void field(double x0, double y0, double x1, double y1, std::size_t colour, double shade) {
        const int level = static_cast<int>(std::ceil(20 * std::clamp(shade, 0.0, 1.0)));
        if (level == 0) return;
        fields_[{colour, level}] += "M" + number(px(x0)) + " " + number(py(y1)) + "h" + number(px(x1) - px(x0)) + "v" +
                                    number(py(y0) - py(y1)) + "h" + number(px(x0) - px(x1)) + "z";
    }

    void legend(std::size_t colour, std::string_view name) {
        legend_ += "<span><b class='c" + std::to_string(colour) + "'></b>" + html_text(name) + "</span>";
    }

    std::string take() {
        for (const auto& [how, path] : fields_) {
            text_ += "<path class='field c" + std::to_string(how.first) + "' opacity='" + number(how.second / 20.0) +
                     "' d='" + path + "'/>";
        }
        return head_ + legend_ + text_ + "</svg></figure>\n";
    }

private:
    static constexpr double left = 60, right = 630, top = 34, bottom = 256;

    /// Four to eight round numbers from 0 on.
    static std::vector<double> ticks(double most) {
        double step = std::pow(10, std::floor(std::log10(most)));
        if (most / step < 2) {
            step /= 5;
        } else if (most / step < 5) {
            step /= 2;
        }
        std::vector<double> out;
        for (double at = 0; at <= most * 1.0001; at += step) out.push_back(at);
        return out;
    }
    static std::string number(double value) {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), "%.2f", value);
        return text.data();
    }
    double px(double x) const { return left + (right - left) * x / x_most_; }
    double py(double y) const { return bottom - (bottom - top) * y / y_most_; }
    void line_at(double x0, double y0, double x1, double y1, std::string_view what) {
        text_ += "<line class='" + std::string(what) + "' x1='" + number(x0) + "' y1='" + number(y0) + "' x2='" +
                 number(x1) + "' y2='" + number(y1) + "'/>";
    }
    void label(double x, double y, std::string_view anchor, std::string_view what) {
        text_ += "<text x='" + number(x) + "' y='" + number(y) + "' text-anchor='" + std::string(anchor) + "'>" +
                 html_text(what) + "</text>";
    }

    double x_most_, y_most_;
    std::map<std::pair<std::size_t, int>, std::string> fields_;
    std::string head_, legend_, text_;
};

}  // namespace cohort::examples
