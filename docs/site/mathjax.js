// What MathJax reads: the elements that hold formulas, and nothing else.
window.MathJax = {
  tex: {inlineMath: [['\\(', '\\)']], displayMath: [['\\[', '\\]']]},
  options: {ignoreHtmlClass: '.*', processHtmlClass: 'arithmatex'},
};
